# Blotter. `make help` lists the targets. Everything made goes under $(BUILD).

BUILD ?= build
CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
SANITIZE ?=
PKG_CONFIG ?= pkg-config
prefix ?= /usr/local

# msgpack-c has two names: msgpack (Debian 12), msgpack-c (Debian 13).
MSGPACK := $(shell $(PKG_CONFIG) --exists msgpack-c && echo msgpack-c || echo msgpack)
HIREDIS_SSL := $(shell $(PKG_CONFIG) --exists hiredis_ssl && echo hiredis_ssl)
LIB_PACKAGES := hiredis libevent_core libevent_extra libevent_pthreads $(MSGPACK) $(HIREDIS_SSL)
PROGRAM_PACKAGES := $(LIB_PACKAGES) libpq jansson
PACKAGE_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PROGRAM_PACKAGES)) $(if $(HIREDIS_SSL),-DHAVE_HIREDIS_SSL)
LIB_LIBS := $(shell $(PKG_CONFIG) --libs $(LIB_PACKAGES)) -lpthread
PROGRAM_LIBS := $(shell $(PKG_CONFIG) --libs $(PROGRAM_PACKAGES)) -lpthread

ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -I. $(PACKAGE_CFLAGS) $(WARNINGS) -fPIC -fvisibility=hidden -MMD -MP $(SANITIZE) $(CFLAGS)
ALL_LDFLAGS = $(SANITIZE) $(LDFLAGS)

SCHEMA_SOURCES := schema/fields.c schema/decimal.c schema/text.c schema/json.c schema/encode.c schema/decode.c schema/stream.c
PRODUCER_SOURCES := producer/producer.c producer/journal.c producer/sender.c producer/redis_link.c producer/status.c
DRAINER_SOURCES :=

SOVERSION := 0
VERSION := $(shell sed -n 's/^.define BLOTTER_VERSION "\(.*\)"/\1/p' producer/blotter.h)
