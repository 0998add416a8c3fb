# Blotter. `make help` lists the targets. Everything made goes under $(BUILD).
#
# Yours to set: CC, CFLAGS, LDFLAGS, prefix, DESTDIR, BUILD, SANITIZE (-fsanitize=... for a build of its own), PYTHON.

BUILD ?= build
SANITIZE ?=
PKG_CONFIG ?= pkg-config
OBJCOPY ?= objcopy
# Debian's, which has Debian's packages, whatever else is first on the path.
PYTHON ?= /usr/bin/python3
prefix ?= /usr/local
# Where CFLAGS, or LDFLAGS, is not given: overwritten stacks, buffers and tables of functions end the process instead of running
# somebody's code. A sanitizer checks more than FORTIFY does, and sees less with it.
ifeq ($(origin CFLAGS),undefined)
X86 := $(findstring x86,$(shell $(CC) -dumpmachine))
CFLAGS := -O2 -g -fstack-protector-strong -fstack-clash-protection $(if $(X86),-fcf-protection) \
	$(if $(SANITIZE),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif
ifeq ($(origin LDFLAGS),undefined)
LDFLAGS := -Wl,-z,relro,-z,now
endif
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2

VERSION := $(shell sed -n 's/^.define BLOTTER_VERSION "\(.*\)"/\1/p' producer/blotter.h)
SOVERSION := 0

# --- what it is made of ---

COMMANDS := audit check check_postgres check_redis check_report completion export follow journal_command line_input log_event migrate mirror_rejects partitions publish rejects \
	rejects_replay report since ship ship_metrics shipment stalls status

SCHEMA := record ccxt_names decimal text copy_checked json_read json_write encode encode_value encode_extra decode decode_value decode_extra decode_ccxt decode_fees decode_cash decode_instrument iso_time \
	json_line json_lines nested_trades stream sha256
JOURNAL := journal journal_checksum journal_clock journal_folder journal_format journal_inspect journal_lock journal_map journal_open \
	journal_recover journal_span
PRODUCER := producer producer_loop submit leftovers histogram waiters waker $(JOURNAL) sender sender_clock sender_life xadd event_notifier confirm \
	loss target refusals eviction ranges redis_link redis_link_state redis_connect redis_greeting redis_moves redis_reader redis_error in_flight redis_url redis_tls redis_visit sentinel cluster background resolve status
REDIS_SIDE := intake node nodes stream_pattern taking reading entry_reader doorbell stream_watch streams redis_reply \
	settle redis_blocking stream_survey
POSTGRES_SIDE := pg_link pg_hosts pg_failure pg_session pg_connect pg_blocking pg_pooler loading loader load_transaction good_record history lease days bisect sql_text sqlstate load_stats booker
MIRROR := base64 mirror mirror_lease mirror_writer ilp reject_line questdb_conf questdb_link questdb_tables questdb_tls
WEB := web web_answers web_child web_pool web_live web_status
DRAINER := command_list commands settings settings_table settings_help log terminal http_server process_metrics metrics_text producer_counters self_spawn monitor drain batch copy order_changes book_rows record_json \
	$(REDIS_SIDE:%=redis/%) $(POSTGRES_SIDE:%=postgres/%) $(COMMANDS:%=commands/%) $(WEB:%=web/%) $(MIRROR:%=mirror/%)

LIB_SOURCES := $(SCHEMA:%=schema/%.c) $(PRODUCER:%=producer/%.c)
PROGRAM_SOURCES := $(DRAINER:%=drainer/%.c)
EXAMPLES := desk loop minimal
UNIT_TESTS := $(patsubst %.c,%,$(wildcard tests/unit/*/test_*.c))
THREAD_TESTS := $(addprefix tests/unit/,producer/test_journal_threads producer/test_producer producer/test_producer_close drainer/test_log) \
	 $(patsubst %.c,%,$(wildcard tests/integration/producer/test_sender*.c))
INTEGRATION_TESTS := $(patsubst %.c,%,$(wildcard tests/integration/*/test_*.c))
FAULT_TESTS := $(patsubst %.c,%,$(wildcard tests/fault/test_*.c))
FUZZERS := $(patsubst %.c,%,$(wildcard tests/fuzz/fuzz_*.c))
# What fuzzers take of the program.
FUZZED := batch book_rows command_list copy http_server log order_changes record_json settings settings_table terminal \
	commands/line_input mirror/questdb_conf postgres/pg_connect postgres/pg_hosts postgres/pg_pooler redis/entry_reader redis/redis_reply \
	web/web_answers web/web_live web/web_pool web/web_status
BENCHES := $(patsubst %.c,%,$(wildcard tests/bench/bench_*.c))
# SQL: tables by their number, what brings version 1 here, then functions and views in the order in which they need each other.
BOOKS := books_copies books books_fold books_booking books_views books_lists books_roll
SQL_CODE := drop columns days progress fence staging orders merge orders_at $(BOOKS) views summaries audit retention locks reports reconciliation web web_answers rights
SQL := $(sort $(wildcard schema/sql/[0-9]*.sql)) schema/sql/from_version_1.sql $(SQL_CODE:%=schema/sql/code/%.sql)

# --- libraries ---

# msgpack-c, of which the library uses the headers, has two names: msgpack (Debian 12), msgpack-c (Debian 13). TLS to Redis needs hiredis 1.x, and OpenSSL.
MSGPACK := $(shell $(PKG_CONFIG) --exists msgpack-c && echo msgpack-c || echo msgpack)
HIREDIS_SSL := $(shell $(PKG_CONFIG) --exists hiredis_ssl openssl && echo hiredis_ssl openssl)
LIB_PACKAGES := hiredis libevent_core libevent_pthreads $(HIREDIS_SSL)
# TLS to QuestDB needs libevent's, and OpenSSL.
EVENT_OPENSSL := $(shell $(PKG_CONFIG) --exists libevent_openssl openssl && echo libevent_openssl openssl)
PROGRAM_PACKAGES := $(LIB_PACKAGES) libevent_extra libpq jansson $(EVENT_OPENSSL)
TEST_PACKAGES := $(PROGRAM_PACKAGES) cmocka $(MSGPACK)
LIB_LIBS = $(shell $(PKG_CONFIG) --libs $(LIB_PACKAGES)) -lpthread
PROGRAM_LIBS = $(shell $(PKG_CONFIG) --libs $(PROGRAM_PACKAGES)) -lpthread -lm
TEST_LIBS = $(shell $(PKG_CONFIG) --libs $(TEST_PACKAGES)) -lpthread -lm -ldl
PACKAGE_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(TEST_PACKAGES)) $(if $(HIREDIS_SSL),-DHAVE_HIREDIS_SSL) $(if $(EVENT_OPENSSL),-DHAVE_EVENT_OPENSSL)

BLOTTER_CFLAGS = -std=c11 -D_GNU_SOURCE -I. $(PACKAGE_CFLAGS) $(WARNINGS) -fPIC -fvisibility=hidden -fstack-clash-protection -MMD -MP $(SANITIZE) $(CFLAGS)
LINK = $(CC) $(SANITIZE) $(CFLAGS) $(LDFLAGS)

LIB_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/%.o)
PROGRAM_OBJECTS := $(PROGRAM_SOURCES:%.c=$(BUILD)/%.o) $(BUILD)/drainer/redis/scripts.o
FIXTURE_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/fixture/*.c))

# --- targets ---

.PHONY: all help lib program examples python tests unit-tests thread-tests test test-all test-unit test-threads test-valgrind test-integration test-fault test-python test-valkey chaos soak fuzz lint run bench bench-page experiment install clean
.DELETE_ON_ERROR:
.SECONDARY:

all: lib program examples

help:
	@echo 'make            the library, the program and the examples, under $(BUILD)/'
	@echo 'make python     the Python package, under $(BUILD)/python'
	@echo 'make test       everything that tests/run.sh runs: tests, sanitizers, static checks (15 minutes)'
	@echo 'make test-all   the same, and what takes longer'
	@echo 'make test-unit, test-integration, test-fault, test-python, lint   parts of it; test-valkey with BLOTTER_REDIS_SERVER=/usr/bin/valkey-server'
	@echo 'make chaos      everything is broken at random for CHAOS_SECONDS=120, and what was accepted is compared with what is stored;'
	@echo '                CHAOS_REDIS=cluster or sentinel breaks one of these'
	@echo 'make soak       a strategy in a crash loop for SOAK_SECONDS=3600: nothing is lost or stored twice, and nothing grows'
	@echo 'make test-valgrind   unit, fault and main integration tests with valgrind, the programs that they start included'
	@echo 'make fuzz       each fuzzer for FUZZ_SECONDS=60'
	@echo 'make run        the quickstart: Redis, PostgreSQL, drainers and a simulated desk'
	@echo 'make bench      speeds beside their limits; BENCH=name for one of them; make bench-page writes them into RESULTS.md'
	@echo 'make experiment what saving orders costs an asyncio strategy, by a dozen ways; EXPERIMENT=--help'
	@echo 'make install    to prefix=$(prefix) below DESTDIR'
	@echo 'make clean      removes $(BUILD)/'

lib: $(BUILD)/libblotter.a $(BUILD)/libblotter.so $(BUILD)/blotter.pc $(BUILD)/include/blotter/blotter.h
program: $(BUILD)/blotter
examples: $(EXAMPLES:%=$(BUILD)/example/%)
thread-tests: $(THREAD_TESTS:%=$(BUILD)/%)
unit-tests: $(UNIT_TESTS:%=$(BUILD)/%) $(FUZZERS:%=$(BUILD)/%)
tests: unit-tests $(INTEGRATION_TESTS:%=$(BUILD)/%) $(FAULT_TESTS:%=$(BUILD)/%) $(BUILD)/next/blotter

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(BLOTTER_CFLAGS) -c $< -o $@

# For the program and the tests, which use what is inside of the library too.
$(BUILD)/libblotter_inside.a: $(LIB_OBJECTS)
	rm -f $@
	$(AR) rcs $@ $^

# One object whose hidden symbols are local: it exports blotter_* only, as the shared library does.
$(BUILD)/libblotter.a: $(LIB_OBJECTS)
	rm -f $@
	$(LD) -r -o $(BUILD)/libblotter.o $^
	$(OBJCOPY) --localize-hidden $(BUILD)/libblotter.o
	$(AR) rcs $@ $(BUILD)/libblotter.o

# Never unloaded: a thread that looks up a name may outlive blotter_close, and with it dlclose.
$(BUILD)/libblotter.so.$(SOVERSION): $(LIB_OBJECTS) producer/libblotter.map
	$(LINK) -shared -Wl,--no-undefined,-z,nodelete -Wl,-soname,libblotter.so.$(SOVERSION) -Wl,--version-script=producer/libblotter.map -o $@ $(LIB_OBJECTS) $(LIB_LIBS)

$(BUILD)/libblotter.so: $(BUILD)/libblotter.so.$(SOVERSION)
	ln -sf $(<F) $@

# Made again each time: prefix may be another one.
.PHONY: $(BUILD)/blotter.pc
$(BUILD)/blotter.pc: producer/blotter.pc.in producer/blotter.h
	@mkdir -p $(@D)
	sed -e 's|@prefix@|$(prefix)|' -e 's|@version@|$(VERSION)|' -e 's|@requires@|$(LIB_PACKAGES)|' $< > $@

# The SQL travels in the program: one C string a file.
$(BUILD)/drainer/commands/migrations.c: drainer/commands/embed.sh $(SQL) Makefile
	@mkdir -p $(@D)
	sh drainer/commands/embed.sh $(SQL) > $@

# So do the scripts for Redis.
SCRIPTS := $(sort $(wildcard drainer/redis/*.lua))
$(BUILD)/drainer/redis/scripts.c: drainer/redis/embed_lua.sh $(SCRIPTS)
	@mkdir -p $(@D)
	sh drainer/redis/embed_lua.sh $(filter-out %/fence.lua %/less.lua,$(SCRIPTS)) > $@

$(BUILD)/drainer/redis/scripts.o: $(BUILD)/drainer/redis/scripts.c
	$(CC) $(BLOTTER_CFLAGS) -c $< -o $@

$(BUILD)/drainer/commands/migrations.o: $(BUILD)/drainer/commands/migrations.c
	$(CC) $(BLOTTER_CFLAGS) -c $< -o $@

# The page of `blotter web` travels in the program, too. It is made once npm is there.
ifneq ($(shell grep -s 'npm is not installed' $(BUILD)/drainer/web/page_files.c),)
ifneq ($(shell command -v npm),)
.PHONY: $(BUILD)/drainer/web/page_files.c
endif
endif
$(BUILD)/drainer/web/page_files.c: drainer/web/embed_page.sh $(wildcard drainer/web/page/*)
	@mkdir -p $(@D)
	sh drainer/web/embed_page.sh $@
$(BUILD)/drainer/web/%.o: $(BUILD)/drainer/web/%.c
	$(CC) $(BLOTTER_CFLAGS) -c $< -o $@
EMBEDDED := $(addprefix $(BUILD)/drainer/,commands/migrations.o web/page_files.o)

$(BUILD)/blotter: $(BUILD)/drainer/main.o $(PROGRAM_OBJECTS) $(EMBEDDED) $(BUILD)/libblotter_inside.a
	$(LINK) -pie -o $@ $^ $(PROGRAM_LIBS)

# The examples see the header as it is installed.
$(BUILD)/producer/example/%.o: BLOTTER_CFLAGS += -I$(BUILD)/include/blotter
$(EXAMPLES:%=$(BUILD)/producer/example/%.o): $(BUILD)/include/blotter/blotter.h
$(BUILD)/example/%: $(BUILD)/producer/example/%.o $(BUILD)/libblotter.a
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(LIB_LIBS)

# Its sources are listed in setup.py, which pip uses as well; it makes anew what is older than its sources. ../../schema/ of build-temp has to
# be another folder than ours: the program would be linked again from its objects.
python: $(BUILD)/libblotter.a $(BUILD)/blotter.pc
	BLOTTER_BUILD=$(abspath $(BUILD)) CC='$(CC)' CFLAGS='$(WARNINGS) $(SANITIZE) $(CFLAGS)' LDFLAGS='$(SANITIZE) $(LDFLAGS)' \
	    $(PYTHON) -W ignore producer/python/setup.py -q build --build-base $(abspath $(BUILD))/python.tmp --build-temp $(abspath $(BUILD))/python.tmp/objects/core --build-lib $(abspath $(BUILD))/python

# A test has of the fixture and of the program what it uses: a hundred copies of all of it would take a minute to link.
$(BUILD)/fixture.a: $(FIXTURE_OBJECTS)
$(BUILD)/program_inside.a: $(PROGRAM_OBJECTS) $(EMBEDDED)
$(BUILD)/fixture.a $(BUILD)/program_inside.a:
	rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/fixture.a $(BUILD)/program_inside.a $(BUILD)/libblotter_inside.a
	$(LINK) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(TEST_LIBS)

$(addprefix $(BUILD)/tests/integration/producer/,test_submit_calls test_unload): | $(BUILD)/libblotter.so

# A fuzz target as a test, which replays its corpus. From archives: a target that takes a file apart has its functions itself.
$(BUILD)/tests/fuzz/program.a: $(FUZZED:%=$(BUILD)/drainer/%.o)
	@mkdir -p $(@D)
	rm -f $@
	$(AR) rcs $@ $^
$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/replay.o $(BUILD)/tests/fuzz/program.a $(BUILD)/libblotter_inside.a
	$(LINK) -o $@ $^ $(TEST_LIBS)

# Goes into servers, which have no sanitizer.
$(BUILD)/tests/fixture/preload/ill_disk.so: tests/fixture/preload/ill_disk.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -O2 -fPIC -shared -o $@ $<
$(addprefix $(BUILD)/tests/fault/,test_slow_disk test_postgres_full): | $(BUILD)/tests/fixture/preload/ill_disk.so

# Chaos is a test of several files.
$(BUILD)/tests/fault/test_chaos: $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/fault/chaos_*.c))

# The program as it will be when the journal's format is the next one: old journals have to be read by it.
$(BUILD)/next/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(BLOTTER_CFLAGS) -DJOURNAL_VERSION=3 -c $< -o $@

$(BUILD)/next/blotter: $(JOURNAL:%=$(BUILD)/next/producer/%.o) $(BUILD)/drainer/main.o $(PROGRAM_OBJECTS) $(EMBEDDED) $(BUILD)/libblotter_inside.a
	$(LINK) -o $@ $^ $(PROGRAM_LIBS)

# --- tests ---

test:
	tests/run.sh

test-all:
	tests/run.sh --all

test-unit: unit-tests
	@tests/run_programs.sh $(UNIT_TESTS:%=$(BUILD)/%) $(FUZZERS:%=$(BUILD)/%)

# What has threads of its own; for a build with SANITIZE=-fsanitize=thread.
test-threads: thread-tests
	@tests/run_programs.sh $(THREAD_TESTS:%=$(BUILD)/%)

# With valgrind, the programs of ours that the tests start included; VALGRIND_TESTS=tests/fault/test_poison for one. Of the integration
# tests those of what works on bytes and connections: the others start the same programs, which the fault tests do as well.
VALGRIND_TESTS ?= $(UNIT_TESTS) $(FUZZERS) $(FAULT_TESTS) \
	$(addprefix tests/integration/,commands/test_bad_input postgres/test_loader producer/test_redis_link producer/test_sender \
	producer/test_sender_redis producer/test_sender_caller commands/test_ship drainer/test_stored_once)
test-valgrind: tests program examples
	@BLOTTER_PROGRAM=$(BUILD)/blotter BLOTTER_TEST_JOBS=$${BLOTTER_TEST_JOBS:-1} BLOTTER_TEST_TIMEOUT=1200 \
	    BLOTTER_TEST_PREFIX=tests/valgrind.sh tests/run_programs.sh $(VALGRIND_TESTS:%=$(BUILD)/%)

# Tests against servers mostly wait, so more of them run at a time than there are processors.
SERVER_TEST_JOBS = BLOTTER_TEST_JOBS=$${BLOTTER_TEST_JOBS:-$$(($$(nproc) * 2))}
test-integration: tests program examples
	@BLOTTER_PROGRAM=$(BUILD)/blotter $(SERVER_TEST_JOBS) tests/run_programs.sh $(INTEGRATION_TESTS:%=$(BUILD)/%) $(sort $(wildcard tests/integration/*/test_*.sh))

# What breaks real servers: the README's table of failures.
test-fault: tests program
	@BLOTTER_PROGRAM=$(BUILD)/blotter $(SERVER_TEST_JOBS) tests/run_programs.sh $(FAULT_TESTS:%=$(BUILD)/%) $(sort $(wildcard tests/fault/test_*.sh))

# A strategy in a crash loop, for as long as SOAK_SECONDS: nothing is lost, nothing is stored twice, nothing grows.
SOAK_SECONDS ?= 3600
soak: python program $(BUILD)/tests/python/serve
	@BLOTTER_BUILD=$(BUILD) $(PYTHON) tests/python/soak.py $(SOAK_SECONDS)

# The core, with another server of the same protocol: BLOTTER_REDIS_SERVER=/usr/bin/valkey-server.
VALKEY_TESTS = $(addprefix tests/integration/,drainer/test_drain drainer/test_stored_once redis/test_trim redis/test_shares producer/test_sender_redis \
	commands/test_operator) $(addprefix tests/fault/,test_redis_emptied test_redis_stale test_pending_meddled)
test-valkey: tests program python $(BUILD)/tests/python/serve
	@BLOTTER_PROGRAM=$(BUILD)/blotter $(SERVER_TEST_JOBS) tests/run_programs.sh $(VALKEY_TESTS:%=$(BUILD)/%)
	@BLOTTER_BUILD=$(BUILD) BLOTTER_TEST_PREFIX='$(PYTHON)' tests/run_programs.sh $(addprefix tests/python/,test_cluster.py test_failover.py test_fence.py)

# One of them for longer. The seed that it prints, given as CHAOS_SEED, repeats what was broken when.
# CHAOS_REDIS=cluster or sentinel: what is broken is a Redis Cluster with replicas, or a master with sentinels.
CHAOS_SECONDS ?= 120
CHAOS_RATE ?= 5000
CHAOS_REDIS ?=
chaos: program $(if $(CHAOS_REDIS),$(BUILD)/tests/python/serve,$(BUILD)/tests/fault/test_chaos)
	@BLOTTER_BUILD=$(BUILD) BLOTTER_PROGRAM=$(BUILD)/blotter CHAOS_SECONDS=$(CHAOS_SECONDS) CHAOS_RATE=$(CHAOS_RATE) \
	    CHAOS_REDIS=$(CHAOS_REDIS) $(if $(CHAOS_REDIS),$(PYTHON) tests/fault/chaos_engines.py,$(BUILD)/tests/fault/test_chaos)

# A sanitizer has to be there before the interpreter; what the interpreter itself never frees is not looked for.
# The longest first, so that none is left over at the end.
LONG_PYTHON_TESTS := $(addprefix tests/,python/test_mirror.py python/test_failover.py web/test_page.py python/test_books.py python/test_patroni.py python/test_many_streams.py)
PYTHON_TESTS := $(LONG_PYTHON_TESTS) $(filter-out $(LONG_PYTHON_TESTS),$(sort $(wildcard tests/python/test_*.py tests/web/test_*.py)))
SANITIZED_PYTHON = env LD_PRELOAD=$(shell $(CC) -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc $(PYTHON)
test-python: python program $(BUILD)/tests/python/serve
	@BLOTTER_BUILD=$(BUILD) BLOTTER_TEST_JOBS=$${BLOTTER_TEST_JOBS:-$$(($$(nproc) * 3 / 2))} \
	    BLOTTER_TEST_PREFIX='$(if $(findstring address,$(SANITIZE)),$(SANITIZED_PYTHON),$(PYTHON))' \
	    tests/run_programs.sh $(if $(SANITIZE),$(filter-out %/test_package.py,$(PYTHON_TESTS)),$(PYTHON_TESTS))

# Each fuzzer for FUZZ_SECONDS, from its seeds; clang's. What it finds is left in $(BUILD)/fuzz: what breaks, as a file to be added to
# the seeds once it is mended; and its own corpus, from which the next run goes on.
FUZZ_SECONDS ?= 60
FUZZ_CFLAGS = -std=c11 -D_GNU_SOURCE -I. $(PACKAGE_CFLAGS) -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
FUZZ_SOURCES := $(LIB_SOURCES) $(FUZZED:%=drainer/%.c)
$(FUZZ_SOURCES:%.c=$(BUILD)/fuzz/%.o): $(BUILD)/fuzz/%.o: %.c $(wildcard schema/*.h producer/*.h drainer/*.h drainer/*/*.h)
	@mkdir -p $(@D)
	clang $(FUZZ_CFLAGS) -c -o $@ $<
$(BUILD)/fuzz/all.a: $(FUZZ_SOURCES:%.c=$(BUILD)/fuzz/%.o)
	rm -f $@
	$(AR) rcs $@ $^
$(BUILD)/fuzz/%: tests/fuzz/fuzz_%.c $(BUILD)/fuzz/all.a
	@mkdir -p $(@D)
	clang $(FUZZ_CFLAGS) -o $@ $^ $(TEST_LIBS)
fuzz: $(FUZZERS:tests/fuzz/fuzz_%=$(BUILD)/fuzz/%)
	@set -e; for fuzzer in $(FUZZERS:tests/fuzz/fuzz_%=%); do \
	    mkdir -p $(BUILD)/fuzz/corpus/$$fuzzer; \
	    $(BUILD)/fuzz/$$fuzzer -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(BUILD)/fuzz/ -print_final_stats=1 \
	        $(BUILD)/fuzz/corpus/$$fuzzer tests/fuzz/corpus/$$fuzzer; \
	done

lint: all
	tests/lint.sh

run: all
	deploy/quickstart.sh

bench: program $(BENCHES:%=$(BUILD)/%)
	tests/bench/run.sh $(BENCH)

# Writes the figures of the last `make bench` into tests/bench/RESULTS.md.
bench-page:
	$(PYTHON) tests/bench/page.py $(BUILD)/bench.json

# Python programs that listen to simulated exchanges and save what they hear; a table, build/experiment.json, build/experiment.png.
experiment:
	deploy/packages.sh experiment
	$(MAKE) -s python program $(BUILD)/tests/python/serve
	BLOTTER_BUILD=$(BUILD) $(PYTHON) tests/bench/experiment/run.py $(EXPERIMENT)

# --- installing ---

# blotter.h as it is installed: one file, with the members of the records written out.
$(BUILD)/include/blotter/blotter.h: producer/expand_header.sh producer/blotter.h schema/fields.h schema/record_structs.h
	@mkdir -p $(@D)
	sh producer/expand_header.sh schema producer/blotter.h > $@

install: lib program
	install -D -m 755 $(BUILD)/blotter $(DESTDIR)$(prefix)/bin/blotter
	install -D -m 644 $(BUILD)/libblotter.a $(DESTDIR)$(prefix)/lib/libblotter.a
	install -D -m 755 $(BUILD)/libblotter.so.$(SOVERSION) $(DESTDIR)$(prefix)/lib/libblotter.so.$(SOVERSION)
	ln -sf libblotter.so.$(SOVERSION) $(DESTDIR)$(prefix)/lib/libblotter.so
	install -D -m 644 -t $(DESTDIR)$(prefix)/include/blotter $(BUILD)/include/blotter/blotter.h
	install -D -m 644 drainer/blotter.1 $(DESTDIR)$(prefix)/share/man/man1/blotter.1
	install -D -m 644 producer/blotter.3 $(DESTDIR)$(prefix)/share/man/man3/blotter.3
	install -D -m 644 $(BUILD)/blotter.pc $(DESTDIR)$(prefix)/lib/pkgconfig/blotter.pc

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
