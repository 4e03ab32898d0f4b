// The hub's answers: the first byte says which reader gets the rest.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "pare/base/error.h"
#include "pare/hub/choose.h"
#include "pare/hub/listing.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] == 'c') {
      PARE_ASSERT(pare::is_hex(pare::parse_commit(text, "fuzz"), 40));
    } else if (data[0] == 'l') {
      PARE_ASSERT(pare::next_page(text).size() <= text.size());
    } else {
      std::vector<pare::HubFile> files;
      pare::parse_tree_page(text, "fuzz", files);
      pare::check_listing(files, "fuzz");
      for (const pare::HubFile& file : files) {
        // what all of this is for: below any folder it stays there
        const auto place = (std::filesystem::path("/folder") / file.path).lexically_normal();
        PARE_ASSERT(place.native().starts_with("/folder/") && place.native().size() == 8 + file.path.size());
        PARE_ASSERT(pare::is_hex(file.blob(), file.sha256.empty() ? 40 : 64));
      }
      const auto choice = pare::choose_files(files, {}, "fuzz");
      PARE_ASSERT(!choice.files.empty() && pare::total_bytes(choice.files) <= pare::total_bytes(files));
    }
  } catch (const pare::Error&) {
  }
  return 0;
}
