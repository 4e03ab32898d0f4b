// Pare's own container: a weight of any form as tensors of a safetensors file, and a few words of JSON about each.
//
//   __metadata__: {"pare_format": "1", "weights": JSON text {NAME: FORM, ...}}
//
//   base of FORM         tensors
//   dense                NAME                     as everywhere else
//   dense, masked        NAME.values [kept]       the kept values, row by row
//   grouped_ints         NAME.codes u8 [rows, ceil(cols * bits / 8)], masked: [ceil(kept * bits / 8)] of the kept ones,
//                        NAME.scales [rows, groups] in scale_dtype,
//                        NAME.zeros u8 [ceil(rows * groups * bits / 8)] unless symmetric,
//                        NAME.group_index i32 [cols] if permuted
//   gguf_blocks          NAME.blocks u8 [rows, bytes of a row]
//   additive_codes       NAME.codes, NAME.codebooks, NAME.scales    as in aqlm_layout.h
//   all that are masked  NAME.mask u8 [rows, ceil(cols / 8)], lowest bit first
//
// Codes and zeros of less than 8 bits are little-endian bit streams (bitpack.h): of codes one for each row, of kept
// codes and of zeros one for all. A weight takes just the bytes that WeightForm::bytes() says. Canonical: what a kernel
// interleaves, it does on loading. Groups, shapes and bits stand in FORM; every tensor has to agree with them.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pare/io/safetensors_writer.h"
#include "pare/weights/stored_tensor.h"
#include "pare/weights/weight_form.h"

namespace pare {

// __metadata__ of a file that holds weights of these forms.
std::map<std::string, std::string> pare_metadata(const std::map<std::string, WeightForm>& forms);
// The other way; nothing where the metadata is not Pare's. UnsupportedError for a later version, InputError naming
// `where` and the weight for what cannot be.
std::optional<std::map<std::string, WeightForm>> pare_forms(const std::map<std::string, std::string>& metadata,
                                                            const std::string& where);

std::vector<TensorSpec> pare_tensors(const WeightForm& form, const std::string& name);
std::vector<StoredTensor> pack_pare(const Weight& weight, const std::string& name);  // the same, in the same order

// `view` finds a tensor by its full name. Throws InputError naming the tensor.
Weight unpack_pare(const WeightForm& form, const std::string& name,
                   const std::function<StoredView(const std::string&)>& view);

}  // namespace pare
