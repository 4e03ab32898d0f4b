// A JSON schema (2020-12, the part that structured outputs are asked for with) as an automaton.
//
//   type            one or a list of object, array, string, number, integer, boolean, null
//   objects         properties, required, additionalProperties
//   arrays          items, prefixItems, minItems, maxItems
//   strings         minLength, maxLength (characters)
//   numbers         minimum, maximum, exclusiveMinimum, exclusiveMaximum; whole ones for "number"
//   any             enum, const; anyOf; oneOf, where type or a constant of a required property tells the alternatives
//                   apart; allOf of one; $ref to a place in the same schema, recursion included; true, false
//   no effect       title, description, default, examples, deprecated, format and the other annotations of the
//   standard;
//                   discriminator; x-...
// Any other keyword is an UnsupportedError that names its place: nothing that restricts is left out in silence.
//
// Narrower than the standard, so that every text that is written satisfies the schema and a model is not led astray:
// properties come in the order of the schema; beside named properties others are written only where
// additionalProperties says so (not merely where it is absent), and behind the named ones; items behind prefixItems
// only where items says so; where no type is given but keywords of one are, that type is written; constants are written
// compactly, exactly as the schema has them. Names not in the schema may come twice.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "pare/runtime/byte_automaton.h"

namespace pare {

ByteAutomaton compile_json_schema(const nlohmann::ordered_json& schema);

}  // namespace pare
