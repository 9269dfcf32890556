# make            the four programs, under build/
# make run        install what is missing, build, and let a simulated cart-pole learn to swing up (RESUME=1: go on)
# make test       install what is missing, build, run all tests; ends with "N passed, N failed"
# make deps       only install what is missing (Debian packages)
# make bench      bench-plan, bench-train (speed), bench-cartpole (SEEDS= TRIALS= FIRST=: learning), bench-rt (MINUTES=: timing)
# make bench-learn  TASK= SEEDS= TRIALS=: learning curves of a robot, in lockstep; make bench-options: what the trainer's options do
# make asan|tsan  the tests under a sanitizer
# make rtsan      tests that run the real-time code, under the real-time sanitizer: allocations, locks, system calls in a tick
# make msan       the core, planners and training under clang's memory sanitizer: no decision by what nobody wrote
# make soak       the tests, those with random inputs a hundred times longer; those of make rtsan, msan and aarch64; and spin, fuzz, mutate, reproducible
# make safety-report  everything that speaks for safety, one table and build/safety.json
# make spin       model checking: every state of the model in tests/spin, and that each of its seeded faults is found
# make fuzz       SECONDS= TARGETS=: libFuzzer on everything that reads what others wrote (tests/fuzz)
# make mutate     FILES= SAMPLE=: changes of the safety core, one in SAMPLE, that no test notices; make cover: lines, branches, MC/DC of the safety core
# make aarch64    what needs only libc and libm, compiled for 64-bit ARM; its tests in an emulator
# make sbom       build/sbom.json: every library in the programs, its package, version, licences, checksum
# make reproducible  two builds in two places must be the same to the last bit
# make format     clang-format          make clean
# make install    DESTDIR= PREFIX=/usr     needs a finished build          WERROR=1  warnings are errors
ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS  ?= -O2 -g
B       ?= build
PREFIX  ?= /usr
VERSION := 0.1.0

SEEDS   ?= 5
TRIALS  ?= 15
FIRST   ?= 1
MINUTES ?= 30

MAKEFLAGS += --no-print-directory
.PHONY: all run test deps build-only bench bench-plan bench-train bench-cartpole bench-learn bench-options bench-rt asan tsan msan rtsan soak safety-report spin fuzz cover mutate aarch64 sbom reproducible format clean install

WARN = -Wall -Wextra -Wshadow -Wconversion -Wvla -Wdouble-promotion -Wstrict-prototypes -Wmissing-prototypes \
       -Wwrite-strings -Wpointer-arith -Wno-string-conversion $(if $(WERROR),-Werror)
# What an attacker would trip over; tests/test_hardening.c looks for it in the binaries.  HARDER is not for the kernels of PER_ISA,
# which handle no outside data: they are to be exactly as fast as without.
HARD   = -fstack-protector-strong -fPIE
HARDER = -fstack-clash-protection $(if $(filter x86_64% amd64%,$(TARGET)),-fcf-protection) $(FORTIFY)
# Needs an optimiser; a sanitizer has checks of its own, which these would hide (__printf_chk from who looks for printf).
FORTIFY = $(if $(findstring -fsanitize,$(CFLAGS))$(RTSAN),,$(if $(filter -O1 -O2 -O3 -Os,$(CFLAGS)),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3))
# Nothing in the programs tells where they were built.
HERE = -ffile-prefix-map='$(CURDIR)=.'
ALL  = -std=gnu11 -D_GNU_SOURCE $(HERE) -I. -I$B -MMD -MP -ffp-contract=off -fno-math-errno -DLIMBER_VERSION='"$(VERSION)"' \
       $(WARN) $(HARD) $(HARDER) $(CFLAGS)
LINK = $(CFLAGS) -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed
# RTSAN is the archive of LLVM's runtime (make rtsan); what it lacks is wrapped.
ifdef RTSAN
CFLAGS  += -DLIMBER_RTSAN
RTSAN_OBJ = $B/tests/rtsan/wrap.o
LINK    += -rdynamic -Wl,--whole-archive $(RTSAN) -Wl,--no-whole-archive \
           $(patsubst %,-Wl$(comma)--wrap=%,write read poll mmap munmap mprotect madvise sem_wait sem_post clock_nanosleep syscall ioctl \
             printf fprintf vprintf vfprintf getenv strerror)
endif
comma := ,

MAINS = daemon/limberd.c daemon/limber.c models/limber_trainer.c firmware-bridge/limber_bridge.c
LANES = $(wildcard planner/lanes.c planner/gradient.c models/kernels.c)
LIBS  = $(filter-out $(MAINS) $(LANES),$(wildcard daemon/*.c daemon/rt/*.c models/*.c planner/*.c transport/*.c firmware-bridge/*.c))
TESTS = $(wildcard tests/*.c tests/spin/*.c tests/fuzz/*.c)
OBJ   = $(LIBS:%.c=$B/%.o) $B/proto/limber.pb-c.o $(RTSAN_OBJ)
PROGS = $(if $(wildcard daemon/limberd.c),$B/limberd) $(if $(wildcard daemon/limber.c),$B/limber) \
        $(if $(wildcard models/limber_trainer.c),$B/limber-trainer) \
        $(if $(wildcard firmware-bridge/limber_bridge.c),$B/limber-bridge)

# Sources that are compiled once per instruction set; the best that the CPU has is picked at run time.
TARGET := $(shell $(CC) -dumpmachine)
ifneq ($(filter x86_64% amd64%,$(TARGET)),)
ISAS = portable avx2 avx512
OBJ += $B/planner/lanes_avx512bf16.o
else ifneq ($(filter aarch64% arm64%,$(TARGET)),)
ISAS = portable neon
else
ISAS = portable
endif
LANES_avx512     = -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mprefer-vector-width=512
LANES_avx512bf16 = $(LANES_avx512) -mavx512bf16
LANES_avx2       = -mavx2 -mfma
LANES_neon       = -DUSE_NEON
LANES_portable   =
OBJ += $(foreach isa,$(ISAS),$(LANES:%.c=$B/%_$(isa).o))

SYSLIBS = -luv -lzmq -lprotobuf-c -lsqlite3 -lcyaml -lyaml -lmicrohttpd -ljansson -lcurl -lcairo -lsodium -lz -lm -lpthread
ifdef MUJOCO_DIR
ALL    += -isystem $(MUJOCO_DIR)/include
MUJOCO  = -L$(MUJOCO_DIR)/lib -Wl,-rpath,$(MUJOCO_DIR)/lib -lmujoco
else
MUJOCO  = -lmujoco
endif

all: $(PROGS)

$B/limberd: $B/daemon/limberd.o $B/liblimber.a
	$(CC) $(LINK) -o $@ $^ $(SYSLIBS)
$B/limber: $B/daemon/limber.o $B/liblimber.a
	$(CC) $(LINK) -o $@ $^ $(SYSLIBS)
$B/limber-trainer: $B/models/limber_trainer.o $B/liblimber.a
	$(CC) $(LINK) -o $@ $^ $(SYSLIBS)
$B/limber-bridge: $B/firmware-bridge/limber_bridge.o $B/liblimber.a
	$(CC) $(LINK) -o $@ $^ $(MUJOCO) $(SYSLIBS)
$B/tests/run: $(TESTS:%.c=$B/%.o) $B/tests/limberd.o $B/liblimber.a | $B/tests/failing.so $B/tests/clock.so
	$(CC) $(LINK) -o $@ $^ $(MUJOCO) $(SYSLIBS)

# Loaded into limberd by tests: a real-time thread that does what it must not.
$B/tests/intruder.so: tests/intruder/intruder.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) -O2 -g -fPIC -shared -o $@ $< -ldl
$B/tests/run: | $B/tests/intruder.so

# Preloaded by tests: makes calls fail, or writes down what becomes of files.  Not for programs under a sanitizer.
$B/tests/failing.so: tests/shim/failing.c tests/shim/record.h
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -I. -fPIC -shared -fno-builtin -o $@ $< -ldl

# Likewise: a wall clock that is set, a clock that is coarse.
$B/tests/clock.so: tests/shim/clock.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -fPIC -shared -fno-builtin -o $@ $< -ldl

# Preloaded by tests: the machine was suspended.
$B/tests/asleep.so: tests/shim/asleep.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -fPIC -shared -o $@ $< -ldl
$B/tests/run: | $B/tests/asleep.so

# The operator's verbs belong to limberd's main file: for the fuzz target, without its main.
$B/tests/limberd.o: daemon/limberd.c | $B/proto/limber.pb-c.h
	@mkdir -p $(@D)
	$(CC) $(ALL) -Dmain=limberd_main -Wno-missing-prototypes -c -o $@ $<

$B/liblimber.a: $(OBJ)
	@rm -f $@
	ar rcs $@ $^

# What needs only libc and libm, and the tests of that.
PURE = $(filter $B/planner/% $B/daemon/core% $B/daemon/rt/% $B/models/kernels_% $B/firmware-bridge/receiver.o \
    $(patsubst %,$B/%.o,daemon/mode daemon/filter models/ensemble models/isa models/judge models/peak models/train models/train_data models/train_unroll),$(OBJ))
PURE_NAMES = $(filter $(patsubst tests/%.c,%,$(TESTS)),$(addprefix test_,core core_claims core_tick core_effort core_gates dst receiver rollout planner gradient search train \
    train_loss train_options judge kernels team ensemble task filter vmath peak mode))
# The long simulations of the core, and whole fits, take minutes in an emulator.
PURE_RUN   = $(if $(LIMBER_SOAK),$(PURE_NAMES),$(filter-out test_core test_dst test_train% test_judge test_team,$(PURE_NAMES)) in_good_weather nothing_moves \
    a_stop_latches an_emergency_stop only_reset every_way_into stopping_never)
PURE_TESTS = tests/main.c $(wildcard tests/dst*.c) $(PURE_NAMES:%=tests/%.c)
$B/tests/%.o: CFLAGS += -fno-tree-vectorize # gcc 12 for aarch64 breaks down over some reductions in double
$B/tests/pure: $(PURE_TESTS:%.c=$B/%.o) $(PURE)
	$(CC) $(LINK) -o $@ $^ -lm -lpthread

$B/proto/limber.pb-c.c: proto/limber.proto
	@mkdir -p $(@D)
	protoc-c --c_out=$B $<
$B/proto/limber.pb-c.h: $B/proto/limber.pb-c.c
$B/proto/limber.pb-c.o: $B/proto/limber.pb-c.c
	$(CC) -std=gnu11 $(HERE) -I$B $(HARD) $(HARDER) $(CFLAGS) -c -o $@ $<

define PER_ISA
$B/%_$(1).o: %.c | $B/proto/limber.pb-c.h
	@mkdir -p $$(@D)
	$$(CC) $$(filter-out -ffp-contract=off $$(HARDER) $$(ISA_WITHOUT),$$(ALL)) -O3 -ffp-contract=fast -fno-trapping-math $$(LANES_$(1)) -DISA=$(1) -c -o $$@ $$<
endef
$(foreach isa,$(ISAS) avx512bf16,$(eval $(call PER_ISA,$(isa))))

$B/%.o: %.c | $B/proto/limber.pb-c.h
	@mkdir -p $(@D)
	$(CC) $(ALL) -c -o $@ $<

# --- everything beyond compiling ---

BUILD = @B=$B ./build.sh $(MAKE) B=$B
ROBOT = robots/cartpole/robot.yaml

deps:
	@./deps.sh

run: deps
	$(BUILD) all
	@$B/limber run $(ROBOT) $(if $(RESUME),--resume)

test:
	@./deps.sh test
	$(BUILD) all $B/tests/run
	@$B/tests/run

build-only:
	$(BUILD) all $B/tests/run

bench: bench-plan bench-train bench-cartpole bench-rt
bench-plan: deps
	$(BUILD) all
	@$B/limber bench plan $(if $(QUICK),--quick)
bench-train: deps
	$(BUILD) all
	@$B/limber bench train
bench-cartpole: deps
	$(BUILD) all
	@$B/limber bench-cartpole --config $(ROBOT) --seeds $(SEEDS) --trials $(TRIALS) --first $(FIRST)
bench-learn: deps
	$(BUILD) all
	@$B/limber bench learn --task $(or $(TASK),cartpole) --lockstep --jobs 2 --seeds $(SEEDS) --trials $(TRIALS)
bench-options: deps
	$(BUILD) all
	@./tests/options.sh $B/limber $B/bench/options 2 5
bench-rt: deps
	$(BUILD) all
	@$B/limber bench-rt --config robots/cartpole/robot-500hz.yaml --minutes $(MINUTES)

# One table, and build/safety.json, of what speaks for a robot's safety; LIMBER_SOAK=1: at full size.
safety-report:
	@./deps.sh test
	$(BUILD) all $B/tests/run
	@./tests/safety_report.sh $B

asan:
	@LSAN_OPTIONS="print_suppressions=0 suppressions=$(CURDIR)/tests/lsan.supp" ./tests/sanitized.sh build-asan $(MAKE) test B=build-asan \
	    CFLAGS="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
tsan:
	@TSAN_OPTIONS="print_suppressions=0 suppressions=$(CURDIR)/tests/tsan.supp" ./tests/sanitized.sh build-tsan $(MAKE) test B=build-tsan \
	    CFLAGS="-O1 -g -fsanitize=thread -fno-omit-frame-pointer"
# The deterministic simulation, and whole daemons in lockstep and in real time.  A report ends the process that it is about.
RTSAN_TESTS = test_rtsan test_core in_lockstep a_planner_on_two_cores another_task_is_set a_whole_session
rtsan:
	@./deps.sh rtsan
	@B=build-rtsan ./build.sh $(MAKE) B=build-rtsan RTSAN=$$(ls /usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.rtsan-$$(uname -m).a) \
	    build-rtsan/limberd build-rtsan/limber-trainer build-rtsan/limber-bridge build-rtsan/tests/run
	@build-rtsan/tests/run $(RTSAN_TESTS)
msan:
	@./deps.sh test
	@B=build-msan ./build.sh $(MAKE) CC=clang B=build-msan CFLAGS="-O1 -g -fsanitize=memory -fsanitize-memory-track-origins -fno-omit-frame-pointer" \
	    build-msan/tests/pure
	@build-msan/tests/pure $(PURE_RUN)
soak:
	@LIMBER_SOAK=1 $(MAKE) test
	@$(MAKE) rtsan
	@$(MAKE) msan
	@LIMBER_SOAK=1 $(MAKE) aarch64
	@$(MAKE) spin
	@$(MAKE) fuzz SECONDS=600
	@$(MAKE) mutate
	@$(MAKE) reproducible

# Not the planner's kernels: they read nobody's bytes, and take many minutes to compile so.
FUZZ_FLAGS = -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
$B/fuzz: $B/tests/fuzz/targets.o $B/tests/fuzz/libfuzzer.o $B/tests/limberd.o $B/liblimber.a
	$(CC) $(LINK) -fsanitize=fuzzer -o $@ $^ $(MUJOCO) $(SYSLIBS)
fuzz:
	@./deps.sh test
	@B=build-fuzz ./build.sh $(MAKE) CC=clang B=build-fuzz CFLAGS="$(FUZZ_FLAGS)" \
	    ISA_WITHOUT="-fsanitize=fuzzer-no-link,address,undefined" build-fuzz/fuzz
	@./tests/fuzz/fuzz.sh build-fuzz/fuzz $(or $(SECONDS),60) $(TARGETS)

# A change in one place at a time of the safety core must be noticed; its coverage.
mutate:
	@./deps.sh test
	$(BUILD) $B/tests/run
	@./tests/mutate/mutate.sh $B $(FILES)
cover:
	@./deps.sh cover
	@B=build-cover ./build.sh $(MAKE) CC=clang-19 B=build-cover HERE= build-cover/tests/run \
	    CFLAGS="-O1 -g -fprofile-instr-generate -fcoverage-mapping -fcoverage-mcdc" \
	    ISA_WITHOUT="-fprofile-instr-generate -fcoverage-mapping -fcoverage-mcdc"
	@./tests/cover.sh build-cover

spin:
	@./deps.sh spin
	@./tests/spin/run.sh $B/spin
	@./tests/spin/run.sh $B/spin mutants

ARM = aarch64-linux-gnu
aarch64:
	@./deps.sh aarch64
	@B=build-aarch64 ./build.sh $(MAKE) CC=$(ARM)-gcc B=build-aarch64 build-aarch64/tests/pure
	@$(if $(LIMBER_SOAK),,LIMBER_QUICK=1) ./tests/emulated.sh build-aarch64/tests/pure /usr/$(ARM) $(PURE_RUN)

sbom:
	@./deps.sh test
	$(BUILD) all
	@./sbom.sh $B
reproducible: deps
	@./tests/reproducible.sh $(MAKE)

format:
	clang-format -i $(shell find daemon models planner transport firmware-bridge proto tests -name '*.[ch]')

clean:
	rm -rf build build-*

I = install -D
install:
	@set -e; for p in limberd limber limber-trainer limber-bridge; do test -x $B/$$p || { echo "no $B/$$p: run make first"; exit 1; }; done
	set -e; for p in limberd limber limber-trainer limber-bridge; do $I $B/$$p $(DESTDIR)$(PREFIX)/bin/$$p; done
	sed 's|/usr/bin/|$(PREFIX)/bin/|' systemd/limberd@.service | $I -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/lib/systemd/system/limberd@.service
	$I -m 644 systemd/tcp.conf $(DESTDIR)$(PREFIX)/share/limber/systemd/tcp.conf
	$I -m 644 systemd/limber.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/limber.conf
	$I -m 644 systemd/60-limber.rules $(DESTDIR)$(PREFIX)/lib/udev/rules.d/60-limber.rules
	set -e; for f in $$(find robots -type f); do $I -m 644 $$f $(DESTDIR)$(PREFIX)/share/limber/$$f; done
	set -e; for f in $(wildcard README.md docs/*.md); do $I -m 644 $$f $(DESTDIR)$(PREFIX)/share/doc/limber/$${f#docs/}; done
	set -e; for f in $$(find docs -name '*.[1-8]'); do $I -m 644 $$f $(DESTDIR)$(PREFIX)/share/man/man$${f##*.}/$${f##*/}; done

-include $(shell find $B -name '*.d' 2>/dev/null)
