/* local_stack.h - the servers of st-local together: started in order, described as settings, stopped in reverse. */
#ifndef ST_LOCAL_LOCAL_STACK_H
#define ST_LOCAL_LOCAL_STACK_H

#include "local/local_options.h"

struct local_stack;

struct local_stack *local_stack_start(const struct local_options *options, struct error *err) MUST_CHECK;
void local_stack_stop(struct local_stack *stack); /* NULL is fine; frees */
/* Appends the `export NAME=value` lines by which programs find the servers. */
void local_stack_exports(const struct local_stack *stack, struct buf *out);

#endif
