// The face of a rank's end of an object store's world.
#include "cylon/net/object/object_transport.h"

#include <utility>

#include "cylon/base/random.h"
#include "cylon/net/mail/mail_transport.h"
#include "cylon/net/object/object_mail.h"

namespace cylon {

arrow::Result<std::string> ObjectCardAddress() {
  ARROW_ASSIGN_OR_RAISE(const std::string random, RandomBytes(16));
  return std::string(internal::kObjectScheme) + HexEncode(random);
}

arrow::Result<std::unique_ptr<Transport>> MakeObjectTransport(Executor& executor, const ObjectPlace& place, World world,
                                                              const std::string& secret, Duration peer_timeout) {
  auto mail = std::make_shared<internal::ObjectMail>(executor, std::move(world), peer_timeout);
  ARROW_RETURN_NOT_OK(mail->Prepare(place, secret));
  return std::make_unique<internal::MailTransport>(std::move(mail));
}

}  // namespace cylon
