/*
 * A PKCS#11 module that does other things than it says, each function in one way: for tests only.
 *
 * It holds no token. The functions that are not below do nothing and say that all is well.
 */

#include <stddef.h>
#include <string.h>

typedef unsigned long answer; /* CK_RV */

enum { FUNCTIONS = 68, INVENTED = 0xff, SAID = 16, WRITTEN = 64, MUCH = 1 << 20, GENERAL_ERROR = 5 };

struct mechanism {
    unsigned long type;
    unsigned char **parameter; /* CK_GCM_PARAMS begins with a pointer to the IV */
    unsigned long length;
};

struct attribute {
    unsigned long type;
    void *value;
    unsigned long length;
};

static answer nothing(void) {
    return 0;
}

/* Write the value, and fail. */
static answer get_attribute_value(unsigned long session, unsigned long key, struct attribute *attribute) {
    (void)session;
    (void)key;
    attribute->length = WRITTEN;
    if (attribute->value == NULL) {
        return 0;
    }
    memset(attribute->value, 'S', WRITTEN);
    return GENERAL_ERROR;
}

/* Put an IV of its own in the place of the caller's, as the modules of some HSMs do. */
static answer encrypt_init(unsigned long session, struct mechanism *mechanism, unsigned long key) {
    (void)session;
    (void)key;
    mechanism->parameter[0][0] = INVENTED;
    return 0;
}

/* Announce far more than there is; then write how much room there was. */
static answer encrypt(unsigned long session, void *data, unsigned long size, unsigned char *out, unsigned long *length) {
    (void)session;
    (void)data;
    (void)size;
    if (out == NULL) {
        *length = MUCH;
        return 0;
    }
    memcpy(out, length, sizeof(*length));
    *length = sizeof(*length);
    return 0;
}

/* Write more than is said. */
static answer decrypt(unsigned long session, void *data, unsigned long size, unsigned char *out, unsigned long *length) {
    (void)session;
    (void)data;
    (void)size;
    memset(out, 'S', WRITTEN);
    *length = SAID;
    return 0;
}

/* Say more than is written. */
static answer sign(unsigned long session, void *data, unsigned long size, unsigned char *out, unsigned long *length) {
    (void)session;
    (void)data;
    (void)size;
    (void)out;
    *length = WRITTEN;
    return 0;
}

/* Say more than there was room for. */
static answer wrap_key(unsigned long session, void *mechanism, unsigned long wrapping, unsigned long key,
                       unsigned char *out, unsigned long *length) {
    (void)session;
    (void)mechanism;
    (void)wrapping;
    (void)key;
    (void)out;
    *length = MUCH;
    return 0;
}

static struct {
    unsigned char version[2];
    answer (*functions[FUNCTIONS])();
} list;

__attribute__((visibility("default"))) answer C_GetFunctionList(void **found) {
    /* The numbers are places in CK_FUNCTION_LIST (PKCS#11 2.40, appendix A). */
    for (int each = 0; each < FUNCTIONS; each++) {
        list.functions[each] = nothing;
    }
    list.functions[24] = get_attribute_value;
    list.functions[29] = encrypt_init;
    list.functions[30] = encrypt;
    list.functions[34] = decrypt;
    list.functions[43] = sign;
    list.functions[60] = wrap_key;
    *found = &list;
    return 0;
}
