# st-ingestor: one door to everything. `make help` lists the targets.
#
# Layers (include/<layer>, src/<layer>) stand in the order of LAYERS; includes point to earlier ones only (make lint-layers).
SHELL := /bin/bash
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules --no-print-directory

LAYERS := base net google record pubsub bigquery servicetitan dispatch worker operate cmd

SANITIZE ?=
JOBS ?= $(shell nproc)
comma := ,
B ?= build$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))
DEPS := .deps
CC := gcc
AR := gcc-ar
OPT ?= -O2
WARN := -Wall -Wextra -Wpedantic -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wshadow -Wpointer-arith \
        -Wcast-qual -Wwrite-strings -Wundef -Wformat=2 -Wvla -Wimplicit-fallthrough -Werror
# Hardening, checked by test/lint/hardening.sh. FORTIFY needs an optimizer and would blind the sanitizers.
MACHINE := $(shell $(CC) -dumpmachine)
HARDEN := -fPIE -fstack-protector-strong -fstack-clash-protection \
          $(if $(filter x86_64-%,$(MACHINE)),-fcf-protection=full) $(if $(filter aarch64-%,$(MACHINE)),-mbranch-protection=standard)
FORTIFY := $(if $(SANITIZE),,$(if $(filter-out -O0,$(filter -O%,$(OPT))),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3))
CPPFLAGS := -D_GNU_SOURCE -Iinclude -I$(B)/proto
CFLAGS := -std=c11 $(OPT) -g $(WARN) $(HARDEN) $(FORTIFY) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all)
GENFLAGS := -std=c11 $(OPT) -g -w $(HARDEN) $(FORTIFY)
LDFLAGS := -pthread -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed $(if $(SANITIZE),-fsanitize=$(SANITIZE))
# Linked into every program of a sanitized build: the sanitizers' settings.
SANITIZE_O := $(if $(SANITIZE),$(B)/test/lib/sanitize.o)
LDLIBS := -lgrpc -lgpr -lprotobuf-c -lcurl -lmicrohttpd -ljson-c -lssl -lcrypto -lxxhash -lm

# One short line per step; V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '%-6s %s\n' $(1) $(2))

# ---- Sources ------------------------------------------------------------------------------------------------------
PROTOS := $(wildcard proto/*.proto)
PROTO_C := $(PROTOS:proto/%.proto=$(B)/proto/%.pb-c.c)
PROTO_H := $(PROTO_C:.c=.h)
PROTO_O := $(PROTO_C:.c=.o)
src_of = $(filter-out src/cmd/main.c src/cmd/local_main.c,$(wildcard src/$(1)/*.c src/$(1)/*/*.c))
obj_of = $(patsubst %.c,$(B)/%.o,$(call src_of,$(1)))
# Libraries that a layer may link: itself and all earlier ones, last first.
upto = $(if $(filter $(1),$(firstword $(2))),$(1),$(firstword $(2)) $(call upto,$(1),$(wordlist 2,99,$(2))))
reverse = $(if $(1),$(call reverse,$(wordlist 2,99,$(1))) $(firstword $(1)))
libs_upto = $(foreach l,$(call reverse,$(call upto,$(1),$(LAYERS))),$(B)/lib$(l).a) $(B)/libproto.a
# st-local stands beside the product: it may use the layers below, the product never uses it.
LOCAL_LIBS := $(B)/liblocal.a $(call libs_upto,google)
DUCKDB_LIB := $(DEPS)/duckdb/libduckdb.so

.PHONY: all programs
all: ## build st-ingestor and st-local (installs missing dependencies first)
	@$(MAKE) --no-print-directory deps-check
	@$(MAKE) -j$(JOBS) programs
programs: $(B)/st-ingestor $(B)/st-local

$(B)/st-ingestor: $(B)/src/cmd/main.o $(SANITIZE_O) $(call libs_upto,cmd)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(B)/st-local: $(B)/src/cmd/local_main.o $(SANITIZE_O) $(LOCAL_LIBS) $(DUCKDB_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter-out $(DUCKDB_LIB),$^) $(LDLIBS) -L$(DEPS)/duckdb -lduckdb -Wl,-rpath,$(abspath $(DEPS)/duckdb) -lz

define layer_lib
$(B)/lib$(1).a: $(call obj_of,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(call say,AR,$$@)
	$$(Q)$(AR) rcs $$@ $$^
endef
$(foreach l,$(LAYERS) local,$(eval $(call layer_lib,$(l))))
$(B)/libproto.a: $(PROTO_O)
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $^

$(B)/proto/%.pb-c.c $(B)/proto/%.pb-c.h &: proto/%.proto
	@mkdir -p $(B)/proto
	$(call say,PROTO,$<)
	$(Q)protoc-c --proto_path=proto --c_out=$(B)/proto $<
$(B)/proto/%.pb-c.o: $(B)/proto/%.pb-c.c $(PROTO_H) $(B)/flags
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(GENFLAGS) -c -o $@ $<
$(B)/%.o: %.c $(B)/flags | $(PROTO_H)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -I$(<D) $(if $(filter test/unit/%,$<),-I$(patsubst test/unit/%,src/%,$(<D))) -MMD -MP -c -o $@ $<
# The texts of the analysts' views are part of the program.
$(B)/src/bigquery/marts.o: $(wildcard sql/mart/*.sql)
# Other flags, other objects: the file is made anew when the flags are others than those it holds.
FLAGS := $(strip $(CC) $(CPPFLAGS) $(CFLAGS) $(GENFLAGS) $(LDFLAGS))
$(B)/flags:
	@mkdir -p $(@D)
	@echo '$(FLAGS)' >$@
ifneq ($(shell cat $(B)/flags 2>/dev/null),$(FLAGS))
.PHONY: $(B)/flags
endif
-include $(shell find $(B) -name '*.d' 2>/dev/null)

# ---- Wire tests in C: test/wire/test_*.c link everything, product and local stack ------------------------------------
WIRE_SRC := $(wildcard test/wire/test_*.c)
WIRE_BIN := $(WIRE_SRC:%.c=$(B)/%)
$(B)/test/wire/%: $(B)/test/wire/%.o $(SANITIZE_O) $(B)/liblocal.a $(call libs_upto,operate) $(DUCKDB_LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter-out $(DUCKDB_LIB),$^) $(LDLIBS) -lcmocka -L$(DEPS)/duckdb -lduckdb -Wl,-rpath,$(abspath $(DEPS)/duckdb) -lz

# ---- Fuzz targets: test/fuzz/fuzz_*.c. With libFuzzer (make fuzz, needs clang); plain, they replay their corpus (make test) --
FUZZ_SRC := $(wildcard test/fuzz/fuzz_*.c)
FUZZ_REPLAY := $(FUZZ_SRC:%.c=$(B)/%)
FUZZ_BIN := $(FUZZ_SRC:test/fuzz/%.c=$(B)/libfuzzer/%)
FUZZ_LAYERS := base record
# Parsers of later layers that need nothing else of theirs.
FUZZ_MORE := src/net/url.c src/operate/api_request.c
FUZZ_SECONDS ?= 60
$(B)/test/fuzz/%.o: CPPFLAGS += -DFUZZ_REPLAY -Isrc/operate
$(B)/test/fuzz/%: $(B)/test/fuzz/%.o $(SANITIZE_O) $(FUZZ_MORE:%.c=$(B)/%.o) $(call libs_upto,record)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(B)/libfuzzer/%: test/fuzz/%.c $(foreach l,$(FUZZ_LAYERS),$(call src_of,$(l))) $(FUZZ_MORE)
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)
	$(Q)clang -std=c11 $(CPPFLAGS) $(foreach l,$(FUZZ_LAYERS),-Isrc/$(l)) -Isrc/operate -Itest/fuzz -g -O1 -fsanitize=fuzzer,address,undefined -o $@ $^ -ljson-c -lxxhash -lm -pthread
.PHONY: fuzz replay
fuzz: $(FUZZ_BIN) ## fuzz every parser of foreign bytes, FUZZ_SECONDS=60 each (needs clang)
	@for bin in $(FUZZ_BIN); do name=$$(basename $$bin); mkdir -p $(B)/corpus/$$name; \
	  $$bin -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 $(B)/corpus/$$name test/fuzz/corpus/$${name#fuzz_} || exit 1; done
replay: $(FUZZ_REPLAY)
	@for bin in $(FUZZ_REPLAY); do name=$$(basename $$bin); $$bin test/fuzz/corpus/$${name#fuzz_} || exit 1; done

# ---- Benchmarks: test/bench/bench_*.c ---------------------------------------------------------------------------------
BENCH_SRC := $(wildcard test/bench/bench_*.c)
BENCH_BIN := $(BENCH_SRC:%.c=$(B)/%)
$(B)/test/bench/%: $(B)/test/bench/%.o $(SANITIZE_O) $(call libs_upto,operate)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
.PHONY: bench
bench: $(BENCH_BIN) ## measure against a floor in the same run
	@for bin in $(BENCH_BIN); do $$bin || exit 1; done

# ---- Dependencies ---------------------------------------------------------------------------------------------------
NODE_STAMP := test/wire/node/node_modules/.lock-sha256 test/terraform/node_modules/.lock-sha256 $(DEPS)/terraform/.stamp
.PHONY: deps deps-check
deps: ## install what is missing: Debian packages (root or sudo), DuckDB, the tests' npm packages, the terraform provider's schema
	@test/deps/install.sh
deps-check:
	@if [ -n "$$(test/deps/check.sh)" ] || ! ls $(DUCKDB_LIB) $(NODE_STAMP) >/dev/null 2>&1; then test/deps/install.sh; fi
$(DUCKDB_LIB):
	@test/deps/duckdb.sh $(@D)

# ---- Unit tests: test/unit/<layer>/test_<module>.c, one process each ------------------------------------------------
UNIT_SRC := $(wildcard test/unit/*/test_*.c)
UNIT_BIN := $(UNIT_SRC:%.c=$(B)/%)
unit_layer = $(word 3,$(subst /, ,$(patsubst $(B)/%,%,$(1))))
.SECONDEXPANSION:
$(B)/test/unit/%: $(B)/test/unit/%.o $(SANITIZE_O) $$(if $$(filter local,$$(firstword $$(subst /, ,$$*))),$(LOCAL_LIBS) $(DUCKDB_LIB),$$(call libs_upto,$$(firstword $$(subst /, ,$$*))))
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter-out $(DUCKDB_LIB),$^) $(LDLIBS) -lcmocka $(if $(filter $(DUCKDB_LIB),$^),-L$(DEPS)/duckdb -lduckdb -Wl$(comma)-rpath$(comma)$(abspath $(DEPS)/duckdb) -lz)

.PHONY: unit unit-%
unit: $(UNIT_BIN)
	@test/run_units.sh $(UNIT_BIN)
unit-%: ; @$(MAKE) --no-print-directory run-units LAYER=$*
.PHONY: run-units
run-units: $(filter $(B)/test/unit/$(LAYER)/%,$(UNIT_BIN))
	@test/run_units.sh $^

# ---- Checks ---------------------------------------------------------------------------------------------------------
.PHONY: test test-units test-wire test-flow test-terraform lint format docs
test: ## all tests: units, Google's own clients against st-local, whole binaries, terraform
	@$(MAKE) --no-print-directory deps-check
	@$(MAKE) --no-print-directory -j$(JOBS) programs
	@$(MAKE) --no-print-directory -j$(JOBS) test-units
	@$(MAKE) --no-print-directory replay
	@$(MAKE) --no-print-directory test-wire
	@$(if $(SANITIZE),echo 'container: not built: it has no sanitized form',$(MAKE) --no-print-directory test-container)
	@$(MAKE) --no-print-directory test-flow
	@$(MAKE) --no-print-directory test-terraform
test-units: $(UNIT_BIN)
	@test/run_units.sh $(UNIT_BIN)
test-wire: $(B)/st-local $(WIRE_BIN)
	@test/run_wire.sh $(B) $(WIRE_BIN)
test-flow: programs
	@test/flow/run.py $(B)
.PHONY: outages
outages: programs ## an hour (on a fast clock) without each service, in each way, and without each pair; minutes
	@OUTAGES=all test/flow/run.py $(B) test_outages
.PHONY: sweep
sweep: programs ## every request of a run fails, loses its answer, kills its worker: all entities, both kinds of failure (SWEEP_ONLY='write.*')
	@for mode in incremental full; do SWEEP_LONG=1 test/flow/run.py $(B) test_sweep_$$mode || exit 1; done
test-terraform: $(B)/st-ingestor ## terraform/ against the provider's schema and against what init makes
	@test/run_terraform.sh $(B)
lint: ## format, layers, headers that compile alone, banned functions, sizes, generated documents
	@$(MAKE) --no-print-directory deps-check
	@test/lint/format.sh
	@test/lint/tree.sh
	@test/lint/layers.py
	@test/lint/banned.py
	@$(MAKE) --no-print-directory $(PROTO_H)
	@test/lint/headers.sh $(CC) $(CPPFLAGS) -std=c11 $(WARN)
	@$(MAKE) --no-print-directory $(B)/st-ingestor
	@test/lint/terraform.sh $(B)
	@test/lint/docs.sh $(B)
	@test/lint/hardening.sh $(B)/st-ingestor
format: ## give all sources their form
	@find src test include -name '*.[ch]' -not -path '*/node_modules/*' -print0 | xargs -0 clang-format -i
docs: programs ## write what is generated: .env.example, the README's option table, docs/monitoring.md's metrics, sql/
	@test/lint/docs.sh $(B) --write
	@test/lint/terraform.sh $(B) --write
.PHONY: demo
demo: ## the whole pipeline on this machine: simulated ServiceTitan -> Pub/Sub -> workers -> local BigQuery
	@$(MAKE) --no-print-directory deps-check
	@$(MAKE) -j$(JOBS) programs
	@test/demo/demo.py --build $(B) $(DEMO)

# A sanitized program is slow: its timers run less fast, so that none of its leases ends by slowness alone.
DURATION ?= 60
WORKERS ?= 3
SEED ?=
.PHONY: chaos
chaos: ## kill, stop and cut off workers at random for DURATION=60 s, then compare (SEED=n repeats a run, WORKERS=3)
	@$(MAKE) --no-print-directory deps-check
	@$(MAKE) -j$(JOBS) programs
	@test/chaos/chaos.py --build $(B) --duration $(DURATION) --workers $(WORKERS) $(if $(SEED),--seed $(SEED)) $(if $(SANITIZE),--scale 10) $(CHAOS)

# ---- Installing, and the image --------------------------------------------------------------------------------------
# The program finds config/ in the working folder, beside itself or one folder above: PREFIX is a folder of its own.
PREFIX ?= /opt/st-ingestor
INSTALLED := config/config.json config/schema_registry.json $(wildcard sql/*.sql sql/*/*.sql)
.PHONY: install deps-container test-container
install: $(B)/st-ingestor ## install the production binary and what it reads into DESTDIR/PREFIX (/opt/st-ingestor)
	install -D -m 755 $(B)/st-ingestor $(DESTDIR)$(PREFIX)/bin/st-ingestor
	@set -e; for file in $(INSTALLED); do echo "install $(DESTDIR)$(PREFIX)/$$file"; install -D -m 644 $$file $(DESTDIR)$(PREFIX)/$$file; done
deps: deps-container
deps-container: ## install what builds and runs the image: buildah, mmdebstrap, podman, runc
	@test/deps/install.sh container
# Only root can make the base. Where the packages cannot be installed, run.py says what is missing.
test-container: $(B)/st-local ## build the image without a registry, look into it, run worker and serve in it
	@[ "$$(id -u)" != 0 ] || test/deps/install.sh container || true
	@test/container/run.py $(B)

.PHONY: help clean
help: ## this list
	@echo 'make                      build'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | awk -F'|' '{printf "make %-20s %s\n", $$1, $$2}'
	@echo 'make SANITIZE=address,undefined test    the same tests under sanitizers (or SANITIZE=thread)'
clean: ## remove what was built
	rm -rf build build-*
