// In the torch-free binary: commands that compute go on in `pare-torch`, with the same words.

#include "pare/cli/hand_over.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "pare/base/error.h"
#include "pare/cli/torch_work.h"

namespace pare {

std::filesystem::path torch_program() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) throw ResourceError("/proc/self/exe: cannot find this program's own folder: " + error.message());
  return self.parent_path() / "pare-torch";
}

void hand_over(const std::filesystem::path& program, char** argv, const char* command) {
  std::error_code error;
  if (!std::filesystem::exists(program, error)) {
    throw UnsupportedError(std::string(command) + ": needs the torch part of Pare, " + program.string() +
                           ", which is not there: this is a build with PARE_TORCH=OFF, or the two programs were moved "
                           "apart. Build with PARE_TORCH=ON and keep both in one folder.");
  }
  // A thread that waits for others looks for a few microseconds and then sleeps. By default it looks for milliseconds,
  // and where another program wants the core too, all threads wait for the one that was put aside.
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) setenv("GOMP_SPINCOUNT", "20000", /*overwrite=*/0);
  // Else MKL's products have other last bits where an array lies at another address; seen on AMD's processors.
  setenv("MKL_CBWR", "AUTO,STRICT", /*overwrite=*/0);
  execv(program.c_str(), argv);
  throw ResourceError(program.string() + ": cannot be started: " + std::strerror(errno));
}

void eval_work(const EvalArgs&, Console& console) {
  hand_over(torch_program(), console.argv, "eval");
}

void calibrate_work(const CalibrateArgs&, Console& console) {
  hand_over(torch_program(), console.argv, "calibrate");
}

void compress_work(const CompressArgs&, Console& console) {
  hand_over(torch_program(), console.argv, "compress");
}

}  // namespace pare
