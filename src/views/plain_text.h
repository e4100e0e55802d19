#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pool_server::views {

// What may go to a terminal of what somebody else wrote: well-formed UTF-8 without control
// characters (C0, DEL, C1), and without what reorders or hides text. Whatever else there is becomes
// a question mark each.
std::string plain_text(std::string_view text);

// Of plain text: how many characters it has, and as many of them as `most`, with an ellipsis in
// place of the last one where something was cut off.
std::size_t length_of(std::string_view text);
std::string cut(std::string_view text, std::size_t most);

// For terminals that cannot show more than ASCII: what the views write themselves in the nearest
// characters ("us" for µs, levels for bars), question marks for the rest.
std::string to_ascii(std::string_view text);

}  // namespace pool_server::views
