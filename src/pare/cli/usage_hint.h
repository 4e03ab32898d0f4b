// "did you mean --bits?" after a command line that was not understood.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace pare {

// The known option or command nearest to the first word that `app` could not place when parsing failed; empty when no
// word was left over or none is near.
std::string did_you_mean(const CLI::App& app);

}  // namespace pare
