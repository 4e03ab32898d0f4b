#include "pare/runtime/engine.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <thread>
#include <utility>

#include "pare/runtime/job.h"
#include "pare/runtime/prefix_cache.h"

namespace pare {
namespace {

std::string words_of(const std::exception& error) {
  return dynamic_cast<const std::bad_alloc*>(&error) != nullptr ? std::string(kNoMemory) : error.what();
}

using Clock = std::chrono::steady_clock;
using JobPtr = std::unique_ptr<Job>;

constexpr uint64_t kLogitsBytes = 64 << 20;  // of one pass that scores prompts

EngineOptions completed(EngineOptions options, const LanguageModel& model, const Tokenizer& tokenizer) {
  if (const auto eos = tokenizer.eos()) options.end_tokens.push_back(*eos);
  std::sort(options.end_tokens.begin(), options.end_tokens.end());
  options.end_tokens.erase(std::unique(options.end_tokens.begin(), options.end_tokens.end()), options.end_tokens.end());
  options.batch = std::max(options.batch, options.slots);
  options.mixed_batch = std::clamp(options.mixed_batch, options.slots + 1, std::max(options.batch, options.slots + 1));
  if (options.cache_bytes == 0)
    options.cache_bytes = model.bytes_of(model.context()) * static_cast<uint64_t>(options.slots);
  if (options.max_tokens <= 0) options.max_tokens = model.context();
  return options;
}

}  // namespace

struct Engine::Impl {
  // What one sequence contributes to a pass.
  struct Share {
    Job* job;
    int64_t count;
  };

  LanguageModel& model;
  const Tokenizer& tokenizer;
  const EngineOptions options;

  mutable std::mutex mutex;  // queue, stopping, totals
  std::condition_variable changed;
  std::deque<JobPtr> queue;
  bool closed = false, stopping = false;
  EngineStats totals;
  uint64_t arrivals = 0;

  std::once_flag trie_made;  // with the first request that has a grammar
  std::unique_ptr<const VocabularyTrie> trie;

  std::list<JobPtr> running;  // of the engine's thread alone, oldest first
  PrefixCache prefixes;
  std::thread thread;

  Impl(LanguageModel& m, const Tokenizer& t, EngineOptions o)
      : model(m), tokenizer(t), options(completed(std::move(o), m, t)) {}

  int64_t allowed_tokens(const GenerationRequest& request) const;
  void check(const GenerationRequest& request) const;

  void work();
  void sweep();
  void admit();
  bool begin(Job& job);
  bool begins(Job& job);
  std::vector<Share> plan(bool embeddings);
  void make_room(std::vector<Share>& shares);
  void pass(const std::vector<Share>& shares, bool embeddings);
  void take(const Share& share, std::span<const float> rows, bool embeddings);
  void finish_ended();
  void publish();
  uint64_t used_bytes() const;
};

Engine::Engine(LanguageModel& model, const Tokenizer& tokenizer, EngineOptions options)
    : impl_(std::make_unique<Impl>(model, tokenizer, std::move(options))) {
  impl_->thread = std::thread([impl = impl_.get()] { impl->work(); });
}

Engine::~Engine() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->closed = impl_->stopping = true;
  }
  impl_->changed.notify_all();
  impl_->thread.join();
}

const EngineOptions& Engine::options() const {
  return impl_->options;
}

int64_t Engine::context() const {
  return impl_->model.context();
}

EngineStats Engine::stats() const {
  std::lock_guard lock(impl_->mutex);
  EngineStats stats = impl_->totals;
  stats.waiting = static_cast<int64_t>(impl_->queue.size());
  return stats;
}

int64_t Engine::Impl::allowed_tokens(const GenerationRequest& request) const {
  if (request.pooling != Pooling::none) return 0;
  const int64_t remain = model.context() - static_cast<int64_t>(request.prompt.size());
  return request.max_tokens.value_or(std::min(remain, options.max_tokens));
}

void Engine::Impl::check(const GenerationRequest& request) const {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  const std::string context = "this model's context of " + std::to_string(model.context()) + " tokens";
  if (prompt == 0) throw InputError("the prompt is empty: it must have at least one token");
  const int64_t vocabulary = std::min(model.vocab_size(), tokenizer.vocab_size());
  for (int32_t id : request.prompt) {
    if (id < 0 || id >= vocabulary) {
      throw InputError("token id " + std::to_string(id) + " in the prompt; this model has ids 0 to " +
                       std::to_string(vocabulary - 1));
    }
  }
  if (prompt > model.context()) {
    throw InputError("the prompt has " + std::to_string(prompt) + " tokens, more than " + context);
  }
  const int64_t wanted = allowed_tokens(request);
  if (wanted < 0) throw InputError("max_tokens is " + std::to_string(wanted) + "; it must not be negative");
  if (!request.max_tokens && wanted == 0 && request.pooling == Pooling::none) {
    throw InputError("the prompt has " + std::to_string(prompt) + " tokens and fills " + context +
                     ": there is no room for an answer");
  }
  if (wanted > options.max_tokens) {
    throw InputError("max_tokens is " + std::to_string(wanted) + "; at most " + std::to_string(options.max_tokens) +
                     " are generated here");
  }
  if (prompt + wanted > model.context()) {
    throw InputError("the prompt has " + std::to_string(prompt) + " tokens and max_tokens is " +
                     std::to_string(wanted) + ": together " + std::to_string(prompt + wanted) + ", more than " +
                     context + ". Ask for at most " + std::to_string(model.context() - prompt));
  }
  if (model.bytes_of(prompt + wanted) > options.cache_bytes) {
    throw InputError("prompt and answer of " + std::to_string(prompt + wanted) + " tokens need more memory than is " +
                     "set aside for keys and values: ask for less, or start with a larger cache");
  }
  for (const std::string& stop : request.stop) {
    if (stop.empty()) throw InputError("a stop string is empty");
  }
}

std::vector<std::shared_ptr<Generation>> Engine::submit(std::vector<GenerationRequest> requests) {
  Impl& self = *impl_;
  std::vector<std::shared_ptr<Generation>> handles;
  std::vector<JobPtr> jobs;
  const auto now = Clock::now();
  for (GenerationRequest& request : requests) {
    self.check(request);
    JobLimits limits{.max_tokens = self.allowed_tokens(request),
                     .vocabulary = self.tokenizer.vocab_size(),
                     .end_tokens = self.options.end_tokens};
    limits.deadline =
        self.options.seconds > 0
            ? now + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(self.options.seconds))
            : Clock::time_point::max();
    if (request.grammar) {
      std::call_once(self.trie_made, [&] {
        self.trie = std::make_unique<const VocabularyTrie>(VocabularyTrie::of(self.tokenizer, self.options.end_tokens));
      });
      limits.trie = self.trie.get();
    }
    handles.push_back(std::make_shared<Generation>(std::move(request)));
    jobs.push_back(std::make_unique<Job>(handles.back(), self.tokenizer, limits));
  }
  {
    std::lock_guard lock(self.mutex);
    if (self.closed) throw BusyError("the server is shutting down");
    const auto free_places =
        self.options.queue + self.options.slots - self.totals.running - static_cast<int64_t>(self.queue.size());
    if (static_cast<int64_t>(jobs.size()) > free_places) {
      self.totals.refused += jobs.size();
      throw BusyError(std::to_string(jobs.size()) + " more requests do not fit: " +
                      std::to_string(self.totals.running) + " are running and " + std::to_string(self.queue.size()) +
                      " of at most " + std::to_string(self.options.queue) + " wait. Try again later");
    }
    for (JobPtr& job : jobs) {
      job->serial = self.arrivals++;
      self.queue.push_back(std::move(job));
    }
  }
  self.changed.notify_all();
  return handles;
}

bool Engine::drain(std::chrono::milliseconds limit) {
  Impl& self = *impl_;
  std::unique_lock lock(self.mutex);
  self.closed = true;
  self.changed.notify_all();
  const bool done = self.changed.wait_for(lock, limit, [&] { return self.queue.empty() && self.totals.running == 0; });
  self.stopping = true;
  self.changed.notify_all();
  return done;
}

void Engine::Impl::work() {
  while (true) {
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return stopping || !queue.empty() || !running.empty(); });
      if (stopping) break;
    }
    sweep();
    admit();
    for (const bool embeddings : {false, true}) {
      auto shares = plan(embeddings);
      make_room(shares);
      if (!shares.empty()) pass(shares, embeddings);
    }
    finish_ended();
    publish();
  }
  std::deque<JobPtr> left;
  {
    std::lock_guard lock(mutex);
    left.swap(queue);
  }
  for (JobPtr& job : running) job->end(Finish::cancelled);
  for (JobPtr& job : left) job->end(Finish::cancelled);
  finish_ended();
  publish();
}

// Those that nobody waits for any more, or that took too long, also while they wait.
void Engine::Impl::sweep() {
  const auto look_at = [&](Job& job) {
    if (job.handle().cancelled()) job.end(Finish::cancelled);
    if (job.past_deadline()) job.end(Finish::timed_out, "took longer than the limit for a request");
  };
  for (JobPtr& job : running) look_at(*job);
  finish_ended();
  std::vector<JobPtr> gone;
  {
    std::lock_guard lock(mutex);
    for (JobPtr& job : queue) {
      // What was preempted is under way.
      if (closed && !job->began) job->end(Finish::cancelled);
      look_at(*job);
      if (!job->ended()) continue;
      ++totals.ended[static_cast<int>(*job->finish())];
      gone.push_back(std::move(job));
    }
    std::erase(queue, nullptr);
  }
}

uint64_t Engine::Impl::used_bytes() const {
  uint64_t bytes = 0;
  for (const JobPtr& job : running) bytes += job->state ? job->state->bytes() : 0;
  return bytes;
}

// First come, first served, while there is a slot and room for what its next tokens need beside what is running.
void Engine::Impl::admit() {
  while (static_cast<int64_t>(running.size()) < options.slots) {
    uint64_t promised = 0;
    for (const JobPtr& job : running) promised += model.bytes_of(static_cast<int64_t>(job->tokens().size()));
    std::lock_guard lock(mutex);
    if (queue.empty()) return;
    const uint64_t need = model.bytes_of(static_cast<int64_t>(queue.front()->tokens().size()) + 1);
    if (!running.empty() && promised + need > options.cache_bytes) return;
    running.push_back(std::move(queue.front()));
    queue.pop_front();
    totals.running = static_cast<int64_t>(running.size());
  }
}

// Gives the job its state, unless it had better wait for another that is computing the same prompt.
bool Engine::Impl::begin(Job& job) {
  if (job.state) return true;
  job.began = true;
  if (!job.takes_prefixes()) {
    job.state = model.new_state();
    return true;
  }
  // At least one token is left to compute: its logits are wanted.
  const auto prompt = job.tokens().first(job.tokens().size() - 1);
  Job* source = nullptr;
  int64_t best = 0, coming = 0;
  for (const JobPtr& other : running) {
    if (!other->state || other->request().pooling != Pooling::none) continue;
    const int64_t common = common_prefix(prompt, other->tokens());
    coming = std::max(coming, common);
    if (const int64_t there = std::min(common, other->computed()); there > best) {
      best = there;
      source = other.get();
    }
  }
  const int64_t kept = options.keep_prefixes ? prefixes.longest(prompt) : 0;
  if (options.keep_prefixes && coming > std::max(best, kept)) return false;
  if (kept >= best && kept > 0) {
    const uint64_t used = used_bytes();
    job.state = prefixes.begin(prompt, kept, options.cache_bytes > used ? options.cache_bytes - used : 0);
  } else if (best > 0 && options.keep_prefixes) {
    job.state = source->state->fork(best);
  } else {
    job.state = model.new_state();
  }
  job.found_computed(job.state->length());
  std::lock_guard lock(mutex);
  totals.cached_tokens += static_cast<uint64_t>(job.state->length());
  return true;
}

// Memory may end here, whatever was counted: then what is kept goes, and at last this job, but not the engine.
bool Engine::Impl::begins(Job& job) {
  try {
    try {
      return begin(job);
    } catch (const std::bad_alloc&) {
      prefixes.clear();
      return begin(job);
    }
  } catch (const std::exception& error) {
    job.end(Finish::failed, words_of(error) + ", for the keys and values of another sequence");
    return false;
  }
}

std::vector<Engine::Impl::Share> Engine::Impl::plan(bool embeddings) {
  std::vector<Share> shares;
  std::vector<Job*> prompts;
  for (JobPtr& job : running) {
    if (job->ended() || (job->request().pooling != Pooling::none) != embeddings || !begins(*job)) continue;
    if (job->pending() == 1) {
      shares.push_back({job.get(), 1});
    } else {
      prompts.push_back(job.get());
    }
  }
  // Equal shares; what a short prompt leaves goes to the longer ones.
  int64_t rest = (shares.empty() ? options.batch : options.mixed_batch) - static_cast<int64_t>(shares.size());
  const auto row_bytes = static_cast<uint64_t>(model.vocab_size()) * sizeof(float);
  auto scored = std::max<int64_t>(1, static_cast<int64_t>(kLogitsBytes / row_bytes));
  std::stable_sort(prompts.begin(), prompts.end(),
                   [](const Job* a, const Job* b) { return a->pending() < b->pending(); });
  auto left = static_cast<int64_t>(prompts.size());
  for (Job* job : prompts) {
    int64_t count = std::min(job->pending(), std::max<int64_t>(1, rest / left--));
    count = std::min(count, rest);
    if (!embeddings && job->wanted(count) > 1) {
      count = std::min(count, scored);
      scored -= count;
    }
    if (count <= 0) continue;
    rest -= count;
    shares.push_back({job, count});
  }
  return shares;
}

// Keys and values of this pass must fit: first the kept prefixes go, the oldest use first, then the youngest sequences
// go back to the front of the queue. The oldest always fits, as submit() saw to.
void Engine::Impl::make_room(std::vector<Share>& shares) {
  const auto need = [&] {
    uint64_t bytes = used_bytes() + prefixes.bytes();
    for (const auto& [job, count] : shares) {
      const uint64_t after = model.bytes_of(job->computed() + count), now = job->state->bytes();
      bytes += after > now ? after - now : 0;
    }
    return bytes;
  };
  while (need() > options.cache_bytes && prefixes.drop_oldest()) {
  }
  while (need() > options.cache_bytes && running.size() > 1) {
    const auto youngest = std::max_element(running.begin(), running.end(),
                                           [](const JobPtr& a, const JobPtr& b) { return a->serial < b->serial; });
    std::erase_if(shares, [&](const Share& share) { return share.job == youngest->get(); });
    (*youngest)->state.reset();
    std::lock_guard lock(mutex);
    queue.push_front(std::move(*youngest));
    running.erase(youngest);
    ++totals.preempted;
  }
}

void Engine::Impl::pass(const std::vector<Share>& shares, bool embeddings) {
  std::vector<LanguageModel::Step> steps;
  uint64_t tokens = 0, prompt_tokens = 0, generated = 0;
  for (const auto& [job, count] : shares) {
    const auto next = job->tokens().subspan(static_cast<size_t>(job->computed()), static_cast<size_t>(count));
    steps.push_back({job->state.get(), next, job->wanted(count)});
    tokens += static_cast<uint64_t>(count);
    generated -= static_cast<uint64_t>(job->usage().generated_tokens);
    if (!job->began_answer()) prompt_tokens += static_cast<uint64_t>(count);
  }
  const auto width = static_cast<size_t>(embeddings ? model.hidden_size() : model.vocab_size());
  const auto run = [&](std::span<const LanguageModel::Step> some) {
    return embeddings ? model.hidden(some) : model.logits(some);
  };
  const auto started = Clock::now();
  try {
    auto rows = run(steps);
    for (size_t i = 0; i < shares.size(); ++i) {
      const size_t size = static_cast<size_t>(steps[i].wanted) * width;
      take(shares[i], rows.first(size), embeddings);
      rows = rows.subspan(size);
    }
  } catch (const std::exception& fault) {
    // Whose fault it was shows when each goes alone, but for those whose tokens were already computed: not twice.
    for (size_t i = 0; i < shares.size(); ++i) {
      if (shares[i].job->ended()) continue;
      if (shares[i].job->state->length() != shares[i].job->computed()) {
        shares[i].job->end(Finish::failed, words_of(fault));
        continue;
      }
      try {
        take(shares[i], run({&steps[i], 1}), embeddings);
      } catch (const std::exception& error) {
        shares[i].job->end(Finish::failed, words_of(error));
      }
    }
  }
  for (const Share& share : shares) generated += static_cast<uint64_t>(share.job->usage().generated_tokens);
  std::lock_guard lock(mutex);
  ++totals.passes;
  totals.generated_tokens += generated;
  totals.pass_tokens += tokens;
  totals.prompt_tokens += prompt_tokens;
  totals.busy_s += std::chrono::duration<double>(Clock::now() - started).count();
}

// A fault in what is made of the rows (sampling, grammar) is this job's alone.
void Engine::Impl::take(const Share& share, std::span<const float> rows, bool embeddings) {
  try {
    if (embeddings) {
      share.job->take_hidden(share.count, rows, model.hidden_size());
    } else {
      share.job->take_logits(share.count, rows, model.vocab_size());
    }
  } catch (const std::exception& error) {
    share.job->end(Finish::failed, error.what());
  }
}

void Engine::Impl::finish_ended() {
  for (auto it = running.begin(); it != running.end();) {
    Job& job = **it;
    if (!job.ended()) {
      ++it;
      continue;
    }
    if (options.keep_prefixes && job.state && job.request().pooling == Pooling::none) {
      const auto computed = job.tokens().first(static_cast<size_t>(job.computed()));
      prefixes.insert({computed.begin(), computed.end()}, std::move(job.state));
    }
    {
      std::lock_guard lock(mutex);
      ++totals.ended[static_cast<int>(*job.finish())];
    }
    it = running.erase(it);
  }
  while (used_bytes() + prefixes.bytes() > options.cache_bytes && prefixes.drop_oldest()) {
  }
}

void Engine::Impl::publish() {
  const uint64_t kept = prefixes.bytes();
  const uint64_t used = used_bytes() + kept;
  {
    std::lock_guard lock(mutex);
    totals.running = static_cast<int64_t>(running.size());
    totals.cache_bytes = used;
    totals.kept_bytes = kept;
    totals.kept = static_cast<int64_t>(prefixes.size());
  }
  changed.notify_all();
}

}  // namespace pare
