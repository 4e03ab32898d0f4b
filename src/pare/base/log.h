// One sink for what Pare has to say beside its result: stderr, one line each, a level in front where it matters.
#pragma once

#include <string_view>

namespace pare {

enum class Level { quiet, warning, info, detail };

void set_log_level(Level level);
Level log_level();
// Thread-safe; a progress line on the terminal (pipeline/progress) is cleared first and drawn again.
void log_line(Level level, std::string_view text);

// The line that stays at the bottom of a terminal; empty removes it. Nothing happens unless stderr is a terminal.
void set_status_line(std::string_view text);
bool stderr_is_terminal();

}  // namespace pare
