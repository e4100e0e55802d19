#pragma once

#include <memory>
#include <pool-server/handler.hpp>

#include "core/handler.h"

namespace pool_server {

// Password hashes as in /etc/shadow, see crypt(5):
//   hash PASSWORD          a fresh hash of PASSWORD, all that follows the first space
//   verify HASH PASSWORD   "match" or "no-match"
// Options: `method` (yescrypt, gost-yescrypt, scrypt, bcrypt, sha512crypt or sha256crypt) and
// `cost` (crypt_gensalt(3)'s count; its default if not set) of fresh hashes. What is verified may
// be of any of these methods, or md5crypt, as long as it costs no more than fresh ones or, by
// default, a second or 128 MiB.
//
// Nothing of a password is left in the handler's memory after the reply. Throws
// std::invalid_argument for an option's value that cannot be.
std::unique_ptr<HandlerModule> load_password_handler(const HandlerOptions& options);

}  // namespace pool_server
