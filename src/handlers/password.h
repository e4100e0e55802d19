#pragma once

#include <memory>
#include <pool-server/handler.hpp>

#include "core/handler.h"

namespace pool_server {

// Password hashes as in /etc/shadow, see crypt(5):
//   hash PASSWORD          a fresh hash of PASSWORD, all that follows the first space
//   verify HASH PASSWORD   "match" or "no-match"
// Options: `method` (argon2id where it is built in, yescrypt, gost-yescrypt, scrypt, bcrypt,
// sha512crypt or sha256crypt; by default the first of these) and `cost` ("m=KIB,t=PASSES,p=LANES"
// for argon2id, crypt_gensalt(3)'s count for the others; each has a default) of fresh hashes. What
// is verified may be of any of these methods, or argon2i, argon2d or md5crypt. None takes more time
// and memory than kMostHashCost, or than a fresh hash of a password of kLeastReckonedPassword
// bytes; what would is "hash too costly".
//
// Nothing of a password is left in the handler's memory after the reply. Throws
// std::invalid_argument for an option's value that cannot be.
std::unique_ptr<HandlerModule> load_password_handler(const HandlerOptions& options);
std::size_t longest_password_reply(std::size_t request_bytes);  // see LongestReply

}  // namespace pool_server
