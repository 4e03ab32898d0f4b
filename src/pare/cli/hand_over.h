// Going on as another program with the same words.
#pragma once

#include <filesystem>

namespace pare {

// Replaces this process by `program`, which sees `argv` as it is. Returns only by throwing: UnsupportedError when the
// program is absent (a build without torch), naming `command`; ResourceError when it cannot be started.
[[noreturn]] void hand_over(const std::filesystem::path& program, char** argv, const char* command);

// pare-torch in the folder of the running program, links followed.
std::filesystem::path torch_program();

}  // namespace pare
