#include "pare/runtime/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <numeric>

#include "pare/base/random.h"
#include "pare/runtime/fake_model.h"
#include "pare/runtime/test_tokenizers.h"

namespace pare {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using Handle = std::shared_ptr<Generation>;

struct Result {
  std::string text;
  std::vector<TokenRecord> tokens;
  Finish finish = Finish::failed;

  std::vector<int32_t> ids() const {
    std::vector<int32_t> ids;
    for (const TokenRecord& token : tokens) ids.push_back(token.id);
    return ids;
  }
};

Result wait(const Handle& handle) {
  Result result;
  for (const auto end = std::chrono::steady_clock::now() + 20s; std::chrono::steady_clock::now() < end;) {
    auto update = handle->next(100ms);
    result.text += update.text;
    for (auto& token : update.tokens) result.tokens.push_back(std::move(token));
    if (!update.finish) continue;
    result.finish = *update.finish;
    return result;
  }
  ADD_FAILURE() << "no end within 20 s";
  return result;
}

std::vector<int32_t> random_prompt(uint64_t seed, int64_t length) {
  const CounterRandom random(seed, "prompt");
  std::vector<int32_t> prompt(static_cast<size_t>(length));
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<int32_t>(random.below(i, 256));
  return prompt;
}

SamplingOptions at_temperature(double temperature, uint64_t seed) {
  SamplingOptions options;
  options.temperature = temperature;
  options.seed = seed;
  return options;
}

GenerationRequest greedy(std::vector<int32_t> prompt, int64_t max_tokens) {
  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  return request;
}

// What the request gives when computed in the most obvious way.
std::vector<int32_t> alone(const FakeModel& model, const GenerationRequest& request) {
  std::vector<int32_t> tokens = request.prompt;
  Sampler sampler(request.sampling);
  for (int64_t i = 0; i < *request.max_tokens; ++i) {
    auto logits = model.script(tokens);
    tokens.push_back(sampler.draw(logits, tokens, tokens.size()));
  }
  return {tokens.begin() + static_cast<int64_t>(request.prompt.size()), tokens.end()};
}

class EngineTest : public testing::Test {
 protected:
  Engine& start(EngineOptions options = {}) {
    engine = std::make_unique<Engine>(model, tokenizer, options);
    return *engine;
  }
  Handle submit(GenerationRequest request) {
    std::vector<GenerationRequest> one;
    one.push_back(std::move(request));
    return engine->submit(std::move(one)).front();
  }

  FakeModel model{257};
  Tokenizer tokenizer = byte_tokenizer();
  std::unique_ptr<Engine> engine;
};

TEST_F(EngineTest, ARequestGetsTheSameAloneAndAmongOthers) {
  start({.slots = 5, .batch = 16, .mixed_batch = 8});
  for (uint64_t seed = 0; seed < 3; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const CounterRandom random(seed, "requests");
    std::vector<GenerationRequest> requests;
    for (uint64_t i = 0; i < 40; ++i) {
      auto prompt = random_prompt(random.below(4 * i, 4), 1 + static_cast<int64_t>(random.below(4 * i + 1, 90)));
      auto request = greedy(std::move(prompt), 1 + static_cast<int64_t>(random.below(4 * i + 2, 30)));
      if (i % 2 == 0) request.sampling = at_temperature(1.5, i);
      requests.push_back(std::move(request));
    }
    const auto handles = engine->submit(requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      SCOPED_TRACE("request " + std::to_string(i));
      const Result result = wait(handles[i]);
      EXPECT_EQ(result.ids(), alone(model, requests[i]));
      EXPECT_EQ(result.text, tokenizer.decode(result.ids()));
      EXPECT_EQ(result.finish, Finish::length);
      EXPECT_EQ(handles[i]->usage().generated_tokens, *requests[i].max_tokens);
    }
  }
  EXPECT_LE(model.most_steps, 5);
  EXPECT_LE(model.largest_pass, 16);
}

TEST_F(EngineTest, StaysWithinItsMemoryByPreemptingAndStillGivesTheSame) {
  start({.slots = 8, .batch = 16, .mixed_batch = 9, .cache_bytes = 150 * FakeModel::kBytesPerToken});
  std::vector<GenerationRequest> requests;
  for (uint64_t i = 0; i < 12; ++i) requests.push_back(greedy(random_prompt(i, 20), 60));
  requests[3].score_prompt = true;
  requests[3].logprobs = 1;
  const auto handles = engine->submit(requests);
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(wait(handles[i]).ids(), alone(model, requests[i])) << i;
  EXPECT_EQ(handles[3]->prompt_scores().size(), 20u);
  EXPECT_GT(engine->stats().preempted, 0u);
  EXPECT_LE(model.peak_tokens, 150);
}

TEST_F(EngineTest, APromptIsNeverComputedTwice) {
  start({.slots = 4});
  const auto prompt = random_prompt(1, 60);
  const Result first = wait(submit(greedy(prompt, 10)));
  EXPECT_EQ(model.tokens, 60 + 9);
  // The next turn of the chat goes on where the last one ended.
  auto longer = prompt;
  for (int32_t id : first.ids()) longer.push_back(id);
  longer.insert(longer.end(), {1, 2, 3});
  model.tokens = 0;
  const auto request = greedy(longer, 5);
  const Handle second = submit(request);
  EXPECT_EQ(wait(second).ids(), alone(model, request));
  EXPECT_EQ(model.tokens, 1 + 3 + 4);
  EXPECT_EQ(second->usage().cached_tokens, 69);
  // Another branch, from the middle of the prompt.
  auto branch = std::vector(prompt.begin(), prompt.begin() + 40);
  branch.push_back(7);
  model.tokens = 0;
  EXPECT_EQ(wait(submit(greedy(branch, 3))).ids(), alone(model, greedy(branch, 3)));
  EXPECT_EQ(model.tokens, 1 + 2);
}

TEST_F(EngineTest, ManyAnswersToOnePromptComputeItOnce) {
  model.pass_time = 1ms;
  start({.slots = 4, .batch = 16});
  std::vector<GenerationRequest> requests(7, greedy(random_prompt(5, 100), 8));
  for (size_t i = 0; i < requests.size(); ++i) requests[i].sampling = at_temperature(1, i);
  const auto handles = engine->submit(requests);
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(wait(handles[i]).ids(), alone(model, requests[i])) << i;
  EXPECT_EQ(model.tokens, 100 + 6 + 7 * 7);  // each but the first computes the prompt's last token, for its logits
}

TEST_F(EngineTest, ALongPromptDoesNotStallTheOthers) {
  model.pass_time = 2ms;
  start({.slots = 4, .batch = 20, .mixed_batch = 10});
  const Handle talker = submit(greedy(random_prompt(1, 4), 100));
  talker->next(5s);
  const Handle reader = submit(greedy(random_prompt(2, 100), 1));
  int64_t while_reading = 0;
  while (!reader->next(0ms).finish) while_reading += static_cast<int64_t>(talker->next(1ms).tokens.size());
  EXPECT_GE(while_reading, 8) << "100 tokens in passes of 10, one token of the other in each";
  EXPECT_LE(model.largest_pass, 20);
}

TEST_F(EngineTest, StopStringsEndTheTextBeforeThem) {
  const std::string text = "Hello there, world. STOP and more";
  model.script = [text](std::span<const int32_t> tokens) {
    std::vector<float> row(257, 0);
    const size_t at = tokens.size() - 1;
    row[at < text.size() ? static_cast<unsigned char>(text[at]) : 256] = 1;
    return row;
  };
  start({.end_tokens = {256}});
  auto request = greedy({0}, 100);
  Result result = wait(submit(request));
  EXPECT_EQ(result.text, text);
  EXPECT_EQ(result.finish, Finish::stop);
  EXPECT_EQ(result.tokens.size(), text.size() + 1);
  request.stop = {"never", "STOP"};
  result = wait(submit(request));
  EXPECT_EQ(result.text, "Hello there, world. ");
  EXPECT_EQ(result.finish, Finish::stop);
  EXPECT_EQ(result.tokens.size(), result.text.size());
  request.stop = {};
  request.ignore_end = true;
  request.max_tokens = 50;
  EXPECT_EQ(wait(submit(request)).finish, Finish::length);
}

TEST_F(EngineTest, PromptsAreScoredAsTheModelSeesThem) {
  start({.batch = 7});
  auto request = greedy(random_prompt(3, 30), 0);
  request.score_prompt = true;
  request.logprobs = 2;
  for (int round = 0; round < 2; ++round) {  // also when it could be found computed
    const Handle handle = submit(request);
    EXPECT_EQ(wait(handle).finish, Finish::length);
    const auto scores = handle->prompt_scores();
    ASSERT_EQ(scores.size(), 30u);
    EXPECT_FALSE(scores[0].logprobs);
    for (size_t i = 1; i < scores.size(); ++i) {
      const auto row = model.script(std::span(request.prompt).first(i));
      EXPECT_EQ(scores[i].id, request.prompt[i]);
      EXPECT_EQ(scores[i].logprobs->chosen.logprob, token_logprobs(row, request.prompt[i], 2).chosen.logprob);
      EXPECT_EQ(scores[i].logprobs->top.size(), 2u);
    }
  }
}

TEST_F(EngineTest, EmbeddingsPoolTheHiddenStates) {
  start({.batch = 6});
  auto request = greedy(random_prompt(3, 20), 0);
  std::vector<double> mean(8);
  for (size_t i = 1; i <= 20; ++i) {
    const auto row = FakeModel::random_row(std::span(request.prompt).first(i), 8);
    for (size_t j = 0; j < 8; ++j) mean[j] += static_cast<double>(row[j]) / 20;
  }
  request.pooling = Pooling::mean;
  const Handle handle = submit(request);
  EXPECT_EQ(wait(handle).finish, Finish::stop);
  for (size_t j = 0; j < 8; ++j) EXPECT_NEAR(handle->embedding()[j], mean[j], 1e-5);
  request.pooling = Pooling::last;
  const Handle last = submit(request);
  wait(last);
  EXPECT_EQ(last->embedding(), FakeModel::random_row(request.prompt, 8));
}

TEST_F(EngineTest, WhatDoesNotFitIsRefusedWithItsNumbers) {
  start({.queue = 2, .max_tokens = 90});
  const auto message = [&](GenerationRequest request) -> std::string {
    try {
      submit(std::move(request));
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message(greedy(random_prompt(1, 100), 29)),
              HasSubstr("prompt has 100 tokens and max_tokens is 29: together 129, more than this model's context of "
                        "128 tokens. Ask for at most 28"));
  EXPECT_THAT(message(greedy(random_prompt(1, 129), 0)), HasSubstr("129 tokens, more than"));
  EXPECT_THAT(message(greedy({}, 1)), HasSubstr("empty"));
  EXPECT_THAT(message(greedy({257}, 1)), HasSubstr("id 257"));
  EXPECT_THAT(message(greedy({-1}, 1)), HasSubstr("id -1"));
  EXPECT_THAT(message(greedy({1}, 91)), HasSubstr("at most 90"));
  EXPECT_THAT(message(greedy({1}, INT64_MAX)), HasSubstr("at most 90"));
  auto open = greedy(random_prompt(1, 100), 0);
  open.max_tokens.reset();
  const Handle handle = submit(open);
  EXPECT_EQ(wait(handle).ids().size(), 28u) << "what remains";
}

TEST_F(EngineTest, AFullQueueRefusesAllOfARequest) {
  model.pass_time = 5ms;
  start({.slots = 1, .queue = 3});
  std::vector<GenerationRequest> four(4, greedy({1, 2}, 20));
  const auto handles = engine->submit(four);
  EXPECT_THROW(submit(greedy({1}, 1)), BusyError);
  EXPECT_EQ(engine->stats().refused, 1u);
  handles[0]->cancel();
  EXPECT_EQ(wait(handles[0]).finish, Finish::cancelled);
  EXPECT_EQ(wait(submit(greedy({1}, 1))).finish, Finish::length);
}

TEST_F(EngineTest, ACancelledRequestFreesItsPlaceAlsoInTheQueue) {
  model.pass_time = 1ms;
  start({.slots = 1});
  const auto handles = engine->submit({greedy({1}, 100), greedy({2}, 100)});
  handles[1]->cancel();
  EXPECT_EQ(wait(handles[1]).finish, Finish::cancelled);
  EXPECT_FALSE(handles[0]->take().finish);
  handles[0]->cancel();
  EXPECT_EQ(wait(handles[0]).finish, Finish::cancelled);
}

TEST_F(EngineTest, ARequestThatTakesTooLongEnds) {
  model.pass_time = 5ms;
  start({.slots = 1, .seconds = 0.05});
  const auto handles = engine->submit({greedy({1}, 100), greedy({2}, 100)});
  for (const Handle& handle : handles) EXPECT_EQ(wait(handle).finish, Finish::timed_out);
}

TEST_F(EngineTest, AFaultOfThePassFailsOnlyWhoseItIs) {
  model.before_pass = [](std::span<const LanguageModel::Step> steps) {
    for (const auto& step : steps) {
      if (step.tokens.back() == 13) throw ResourceError("no memory for 13");
    }
  };
  start();
  const auto good = greedy({1, 2}, 10);
  const auto handles = engine->submit({good, greedy({13}, 5), good});
  EXPECT_EQ(wait(handles[1]).finish, Finish::failed);
  EXPECT_THAT(handles[1]->error(), HasSubstr("13"));
  EXPECT_EQ(wait(handles[2]).ids(), alone(model, good));
}

TEST_F(EngineTest, WithoutMemoryForAStateOnlyThatRequestFails) {
  std::atomic<int> left = 0;
  model.before_state = [&] {
    if (left-- > 0) throw std::bad_alloc();
  };
  start();
  left = 1;  // what is kept is given up, and it goes on
  const auto good = greedy({1, 2}, 10);
  EXPECT_EQ(wait(submit(good)).ids(), alone(model, good));
  left = 2;
  const auto handle = submit(greedy({3, 4}, 10));
  EXPECT_EQ(wait(handle).finish, Finish::failed);
  EXPECT_THAT(handle->error(), HasSubstr("no memory"));
  left = 0;
  EXPECT_EQ(wait(submit(good)).ids(), alone(model, good));
}

TEST_F(EngineTest, DrainingFinishesWhatRunsAndDropsWhatWaits) {
  model.pass_time = 2ms;
  start({.slots = 1});
  const auto handles = engine->submit({greedy({1}, 20), greedy({2}, 20)});
  handles[0]->next(5s);
  EXPECT_TRUE(engine->drain(10s));
  EXPECT_EQ(wait(handles[0]).finish, Finish::length);
  EXPECT_EQ(wait(handles[1]).finish, Finish::cancelled);
  EXPECT_THROW(submit(greedy({1}, 1)), BusyError);
  engine.reset();
  EXPECT_EQ(model.states_alive, 0);
}

TEST_F(EngineTest, WakesFromManyThreadsFindEverything) {
  start({.slots = 3, .queue = 1000});
  std::vector<std::future<std::vector<int32_t>>> clients;
  const auto request = greedy(random_prompt(9, 20), 25);
  for (int i = 0; i < 16; ++i) {
    clients.push_back(std::async(std::launch::async, [&] {
      const Handle handle = submit(request);
      std::promise<void> ended;
      handle->on_ready([&] { ended.set_value(); }, true);
      ended.get_future().wait();
      return wait(handle).ids();
    }));
  }
  const auto expected = alone(model, request);
  for (auto& client : clients) EXPECT_EQ(client.get(), expected);
}

}  // namespace
}  // namespace pare
