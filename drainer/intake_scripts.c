/* intake_scripts.c: see intake_scripts.h. */
#include "drainer/intake_scripts.h"

/* Ids are compared as text, number by number: a double does not hold 64 bits. */
const char intake_script_trim[] = "local spare = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[2])\n"
                                  "if spare <= 0 then return 0 end\n"
                                  "local function less(a, b)\n"
                                  "  local ams, aseq = a:match('^(%d+)-(%d+)$')\n"
                                  "  local bms, bseq = b:match('^(%d+)-(%d+)$')\n"
                                  "  if #ams ~= #bms then return #ams < #bms end\n"
                                  "  if ams ~= bms then return ams < bms end\n"
                                  "  if #aseq ~= #bseq then return #aseq < #bseq end\n"
                                  "  return aseq < bseq\n"
                                  "end\n"
                                  "local safe, ours = nil, false\n"
                                  "for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do\n"
                                  "  local group = {}\n"
                                  "  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end\n"
                                  "  local pending = redis.call('XPENDING', KEYS[1], group['name'])\n"
                                  "  local needed = group['last-delivered-id']\n"
                                  "  if pending[1] > 0 then needed = pending[2] end\n"
                                  "  if safe == nil or less(needed, safe) then safe = needed end\n"
                                  "  if group['name'] == ARGV[1] then ours = true end\n"
                                  "end\n"
                                  "if not ours then return 0 end\n"
                                  "return redis.call('XTRIM', KEYS[1], 'MINID', '~', safe, 'LIMIT', spare)\n";

const char intake_script_remove_consumers[] =
    "local removed = 0\n"
    "for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do\n"
    "  local consumer = {}\n"
    "  for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end\n"
    "  local unused = consumer['name'] == ARGV[2] or consumer['idle'] > tonumber(ARGV[3])\n"
    "  if consumer['pending'] == 0 and unused then\n"
    "    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer['name'])\n"
    "    removed = removed + 1\n"
    "  end\n"
    "end\n"
    "return removed\n";
