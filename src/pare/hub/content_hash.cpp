#include "pare/hub/content_hash.h"

#include <openssl/evp.h>

#include "pare/base/error.h"

namespace pare {

struct ContentHash::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  const EVP_MD* kind = nullptr;
  std::string header;
  ~State() { EVP_MD_CTX_free(context); }
};

ContentHash::ContentHash(const HubFile& file) : state_(std::make_unique<State>()) {
  state_->kind = file.sha256.empty() ? EVP_sha1() : EVP_sha256();
  if (file.sha256.empty()) {
    state_->header = "blob " + std::to_string(file.bytes);
    state_->header += '\0';
  }
  restart();
}

ContentHash::~ContentHash() = default;

void ContentHash::restart() {
  // fails where a policy of the machine forbids SHA-1
  if (state_->context == nullptr || EVP_DigestInit_ex(state_->context, state_->kind, nullptr) != 1) {
    throw ResourceError(std::string("libcrypto cannot compute ") + EVP_MD_get0_name(state_->kind));
  }
  add(std::as_bytes(std::span(state_->header)));
}

void ContentHash::add(std::span<const std::byte> bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}

std::string ContentHash::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(state_->context, digest, &size);
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

}  // namespace pare
