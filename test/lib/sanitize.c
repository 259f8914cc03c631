/* sanitize.c - the sanitizers' settings, in one place.
 *
 * The Makefile links this object into every program of a sanitized build (SANITIZE=...), so that a program has the same
 * settings whoever starts it: make, a test, a person. ASAN_OPTIONS and its like, when set, still go over them.
 *
 * Suppressions name uninstrumented libraries only, never code of this project. At present LeakSanitizer and
 * AddressSanitizer need none. ThreadSanitizer does not see how gRPC's, DuckDB's and libmicrohttpd's own threads
 * synchronise: accesses that those libraries make through intercepted calls (memcpy, read) are left out; accesses by
 * code of ours are always checked, in their threads and callbacks too. */

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:abort_on_error=0";
}

const char *__ubsan_default_options(void)
{
    return "print_stacktrace=1";
}

const char *__tsan_default_options(void)
{
    return "ignore_noninstrumented_modules=1:second_deadlock_stack=1";
}
