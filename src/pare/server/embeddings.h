// POST /v1/embeddings: the model's last hidden states, pooled over a text and scaled to length 1.
#pragma once

#include <memory>

#include "pare/server/fields.h"
#include "pare/server/service.h"

namespace pare {

std::unique_ptr<Answer> embed(const RequestJson& body, std::shared_ptr<Service> service);

}  // namespace pare
