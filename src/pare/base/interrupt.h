// Ctrl-C and SIGTERM as a flag that long work asks for at safe points.
#pragma once

namespace pare {

// From here on the first SIGINT or SIGTERM sets a flag; a second one ends the process at once.
void watch_for_interrupts();

// Throws Interrupted (exit code 130 or 143) when one has come. Call it where everything done so far is on disk.
void stop_if_interrupted();

}  // namespace pare
