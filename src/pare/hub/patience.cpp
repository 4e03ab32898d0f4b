#include "pare/hub/patience.h"

#include <chrono>
#include <cmath>
#include <thread>

#include "pare/base/error.h"
#include "pare/base/log.h"
#include "pare/base/units.h"

namespace pare {
namespace {

constexpr double kFirstWait = 0.5, kLongestWait = 900;

}  // namespace

bool is_worth_another_try(const HttpResponse& response) {
  if (response.hopeless) return false;
  if (!response.problem.empty()) return true;
  // an address that was signed for a while: the hub gives a new one
  if (!response.from_hub && response.status == 403) return true;
  return response.status == 408 || response.status == 429 || response.status >= 500;
}

std::string describe(const HttpResponse& response) {
  if (!response.problem.empty()) return response.problem;
  const std::string words = response.header("x-error-message");
  return "the server answers " + std::to_string(response.status) + (words.empty() ? "" : ": " + words.substr(0, 300));
}

void Patience::wait_after(const HttpResponse& response, bool progress) {
  failures_ = progress ? 1 : failures_ + 1;
  const double asked = response.asked_to_wait_s();
  const double wait = asked >= 0 ? asked : kFirstWait * std::pow(2, failures_ - 1);
  if (failures_ >= kMaxFailures || wait > kLongestWait) {
    throw Error(Exit::failed, what_ + ": " + describe(response) +
                                  (wait > kLongestWait ? ", and asks to wait " + format_duration(wait)
                                                       : ", " + std::to_string(failures_) + " times in a row") +
                                  ". What was loaded is kept; the same command goes on from there");
  }
  if (stopped_()) return;
  log_line(Level::warning, what_ + ": " + describe(response) + "; once more in " + format_duration(wait));
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(wait);
  while (!stopped_() && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace pare
