#include "pare/server/embeddings.h"

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "pare/server/completion_answer.h"
#include "pare/server/token_json.h"

namespace pare {
namespace {

std::string base64(const std::vector<float>& values) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<uint8_t> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const auto at = [&](size_t j) { return j < bytes.size() ? bytes[j] : 0u; };
    const uint32_t three = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
    for (int shift = 18; shift >= 0; shift -= 6) text += kAlphabet[three >> shift & 63];
  }
  const size_t padding = (3 - bytes.size() % 3) % 3;
  return text.replace(text.size() - padding, padding, std::string(padding, '='));
}

void scale_to_one(std::vector<float>& values) {
  double sum = 0;
  for (float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  if (sum == 0) return;
  for (float& value : values) value = static_cast<float>(static_cast<double>(value) / std::sqrt(sum));
}

class EmbeddingAnswer : public Answer {
 public:
  EmbeddingAnswer(std::vector<std::shared_ptr<Generation>> handles, std::shared_ptr<Service> service, bool as_base64)
      : handles_(std::move(handles)), service_(std::move(service)), as_base64_(as_base64) {}
  ~EmbeddingAnswer() override { abandon(); }

  void on_ready(std::function<void()> wake) override {
    for (const auto& handle : handles_) handle->on_ready(wake, true);
  }
  void abandon() override {
    for (const auto& handle : handles_) handle->cancel();
  }
  bool pull(std::string& out) override {
    for (; ended_ < handles_.size(); ++ended_) {
      const auto finish = handles_[ended_]->take().finish;
      if (!finish) return false;
      if (*finish == Finish::stop) continue;
      const ApiError fault = fault_of(*handles_[ended_], *finish);
      status = fault.status;
      out = fault.body();
      abandon();
      return true;
    }
    AnswerJson data = AnswerJson::array();
    int64_t tokens = 0;
    for (size_t i = 0; i < handles_.size(); ++i) {
      auto values = handles_[i]->embedding();
      scale_to_one(values);
      data.push_back({{"object", "embedding"},
                      {"index", i},
                      {"embedding", as_base64_ ? AnswerJson(base64(values)) : AnswerJson(values)}});
      tokens += handles_[i]->usage().prompt_tokens;
    }
    out = text_of(AnswerJson{{"object", "list"},
                             {"data", std::move(data)},
                             {"model", service_->facts.id},
                             {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}});
    return true;
  }

 private:
  const std::vector<std::shared_ptr<Generation>> handles_;
  const std::shared_ptr<Service> service_;
  const bool as_base64_;
  size_t ended_ = 0;
};

}  // namespace

std::unique_ptr<Answer> embed(const RequestJson& body, std::shared_ptr<Service> service) {
  const Fields fields(body, "");
  fields.text("model");
  const bool as_base64 = fields.choice("encoding_format", {"float", "base64"}) == "base64";
  fields.refuse("dimensions", {service->hidden_size},
                "this model's embeddings have " + std::to_string(service->hidden_size) + " numbers");
  const bool last = fields.choice("pooling", {"mean", "last"}) == "last";
  std::vector<GenerationRequest> requests;
  for (Prompt& prompt : read_prompts(fields, "input", *service)) {
    GenerationRequest request;
    request.prompt = std::move(prompt.tokens);
    request.pooling = last ? Pooling::last : Pooling::mean;
    requests.push_back(std::move(request));
  }
  auto handles = submit(service->engine, std::move(requests), "input");
  return std::make_unique<EmbeddingAnswer>(std::move(handles), std::move(service), as_base64);
}

}  // namespace pare
