// From what the engine generates to OpenAI's answers: one JSON object at the end, or a stream of events.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pare/server/completion_request.h"
#include "pare/server/service.h"

namespace pare {

// Submits the call. ApiError when the engine refuses it.
std::unique_ptr<Answer> complete(CompletionCall call, std::shared_ptr<const Service> service, Engine& engine);

// What the engine throws at submit(), as a fault of the request or of the hour.
std::vector<std::shared_ptr<Generation>> submit(Engine& engine, std::vector<GenerationRequest> requests,
                                                const std::string& field);
// A generation that ended otherwise than by itself.
ApiError fault_of(const Generation& generation, Finish finish);

}  // namespace pare
