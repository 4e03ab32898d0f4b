// pare compress: the work itself.

#include "pare/base/resources.h"
#include "pare/cli/compress_args.h"
#include "pare/cli/torch_work.h"
#include "pare/pipeline/run/compress.h"

namespace pare {

void compress_work(const CompressArgs& args, Console& console) {
  keep_heap_compact();
  CompressOptions options;
  options.model = args.model;
  options.out = args.out;
  options.recipe = args.recipe;
  options.command = args.command;
  options.memory_bytes = args.memory_bytes;
  options.threads = args.threads;
  options.evaluation = {args.evaluation_tokens, args.evaluation_length};
  options.evaluation_text = args.evaluation_text;
  options.max_kl = args.max_kl;
  options.json = args.json;
  console.exit_code = static_cast<int>(compress(options));
}

}  // namespace pare
