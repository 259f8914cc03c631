/* st_token.h - access tokens of the simulator: three base64url parts as in a JWT, checked by signature, held nowhere.
 *
 * The key comes from the server's seed, so tokens outlive a restart. (The real service signs with RS256; clients do not
 * check.) */
#ifndef ST_LOCAL_ST_TOKEN_H
#define ST_LOCAL_ST_TOKEN_H

#include "base/buf.h"

enum { ST_TOKEN_LIFE_S = 900 };

struct st_token_key {
    unsigned char bytes[32];
};
void st_token_key_init(struct st_token_key *key, uint64_t seed);

struct st_token_claims {
    int64_t tenant;
    int64_t issued_s, expires_s;
};
void st_token_make(const struct st_token_key *key, const struct st_token_claims *claims, const char *client_id,
                   struct buf *out);
/* False when the text is no token of this key. */
bool st_token_read(const struct st_token_key *key, struct slice text, struct st_token_claims *ret);

#endif
