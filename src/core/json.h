#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pool_server {

// Appends JSON to a text. Puts the commas; that objects and arrays are closed, and keys have
// values, is the caller's to see to. Whatever bytes a text has, what comes out is valid: a byte
// that is not UTF-8 becomes U+FFFD.
class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);

  JsonWriter& text(std::string_view value);
  JsonWriter& number(std::uint64_t value);
  JsonWriter& number(double value);  // null where JSON has no number for it
  JsonWriter& seconds(std::int64_t us);
  JsonWriter& boolean(bool value);
  JsonWriter& null();

 private:
  void separate();
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);

  std::string& out_;
};

}  // namespace pool_server
