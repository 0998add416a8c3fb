/* json_lines.c: see json_lines.h.
 *
 * A part of an object that is a record of its own is written as an object, and read as any other.
 */
#include "schema/json_lines.h"

#include <stdio.h>
#include <string.h>

#include "schema/array.h"
#include "schema/decimal.h"
#include "schema/nested_trades.h"

enum { COPIED_BYTES_MAX = 16 << 20 };

static int json_lines_refuse(struct json_lines *lines, const char *where, const char *problem)
{
    snprintf(lines->problem, sizeof lines->problem, "%s%s", where, problem);
    return -1;
}

/* Makes room for one more record, which is not counted yet; NULL: there is no memory. */
static struct json_line *next_line(struct json_lines *lines)
{
    struct json_line *grown =
        array_grow(lines->lines, &lines->capacity, lines->count + 1, sizeof *lines->lines);

    if (grown == NULL) {
        json_lines_refuse(lines, "", "out of memory");
        return NULL;
    }
    lines->lines = grown;
    if (lines->count == lines->made) {
        memset(&grown[lines->made++], 0, sizeof *grown);
    }
    return &grown[lines->count];
}

static bool make_text(struct json_lines *lines, size_t length)
{
    char *grown = array_grow(lines->text, &lines->text_capacity, length, 1);

    lines->text = grown != NULL ? grown : lines->text;
    return grown != NULL || json_lines_refuse(lines, "", "out of memory") == 0;
}

/* Counts what is written of one object. Its records share parts, each of which is written, read and
 * kept for every one of them, so that a text of a megabyte could take gigabytes. */
static bool may_copy(struct json_lines *lines, size_t length)
{
    lines->copied += length;
    return lines->copied <= COPIED_BYTES_MAX ||
           json_lines_refuse(lines, "", "what its records share is too long for so many") == 0;
}

/* Reads an object that is one record. where: it is, for messages. */
static int add_line(struct json_lines *lines, const struct json_source *source, const char *where,
                    struct json_slice text)
{
    struct json_line *line = next_line(lines);

    if (line == NULL) {
        return -1;
    }
    if (json_line_open(line, &lines->workspace, source, text.at, text.length) != 0 ||
        json_line_take(line, &lines->workspace, source, text.at, text.length) != 0) {
        return json_lines_refuse(lines, where, line->problem);
    }
    lines->count++;
    return 0;
}

/* --- orders --- */

/* Adds the trades in an order, which has just been added. */
static int add_trades(struct json_lines *lines, const struct json_source *source,
                      struct json_slice text)
{
    const struct json_slice trades = lines->lines[lines->count - 1].trades;
    struct json_source of_trade = *source;
    struct json_scan scan = nested_trades_scan(trades);
    struct json_slice trade;
    struct nested_order order;

    of_trade.kind = RECORD_TRADE;
    of_trade.recognised = true;
    nested_order_read(&order, text, source->has_symbol);
    while (nested_trades_next(&order, &scan, &trade)) {
        if (!make_text(lines, text.length + trade.length + NESTED_TRADE_ROOM)) {
            return -1;
        }
        size_t length = nested_trade_write(&order, trade, lines->text);
        if (!may_copy(lines, length) ||
            add_line(lines, &of_trade, "trades: ", (struct json_slice){lines->text, length}) != 0) {
            return -1;
        }
        lines->lines[lines->count - 1].nested = true;
    }
    return 0;
}

/* --- balances --- */

static const char *const amounts[] = {"free", "used", "total", "debt"};
enum { AMOUNTS = sizeof amounts / sizeof amounts[0], MAPS = 3, OF_A_CURRENCY = -1 };

/* A part of what a balance says of a currency: {"free": …} under its own name, or one number in the
 * map of that amount. */
struct balance_part {
    struct json_slice currency; /* with its quotes */
    struct json_slice value;
    int amount;   /* an index in `amounts`, or OF_A_CURRENCY */
    size_t order; /* in which it stands; what maps say comes after the currencies' own */
    size_t group; /* the order of the currency's first part */
};

static int amount_of(struct json_slice key)
{
    for (int i = 0; i < AMOUNTS; i++) {
        if (json_slice_is_key(key, amounts[i])) {
            return i;
        }
    }
    return OF_A_CURRENCY;
}

/* Keys that belong to all rows of a balance, and those that belong to none. */
static const char *const of_all_rows[] = {"timestamp", "datetime",    "exchange_time", "account",
                                          "origin",    "market_type", "snapshot",      NULL};
static const char *const of_no_row[] = {"kind", "exchange", "info", "currency", NULL};

static bool is_row(const struct json_member *member)
{
    return member->value.at[0] == '{' && amount_of(member->key) < 0 &&
           !json_slice_is_key(member->key, "extra") &&
           !json_slice_is_one_of(member->key, of_all_rows) &&
           !json_slice_is_one_of(member->key, of_no_row);
}

/* Says whether the key can be a currency's name: Python has None where ccxt knows none. */
static bool is_name(const struct json_source *source, struct json_slice key)
{
    return !json_slice_is(key, "\"\"") && !(source->lenient && json_slice_is_shown(key));
}

static bool add_part(struct json_lines *lines, struct json_slice currency, struct json_slice value,
                     int amount)
{
    struct balance_part *grown =
        array_grow(lines->parts, &lines->part_capacity, lines->part_count + 1, sizeof *grown);
    if (grown == NULL) {
        return json_lines_refuse(lines, "", "out of memory") == 0;
    }
    lines->parts = grown;
    size_t order = lines->part_count + (amount < 0 ? 0 : SIZE_MAX / 2);
    grown[lines->part_count++] = (struct balance_part){currency, value, amount, order, order};
    return true;
}

static bool has_amounts(struct json_slice row)
{
    struct json_scan scan = json_read_members(row.at, row.length);
    struct json_member member;

    while (json_read_member(&scan, &member)) {
        if (amount_of(member.key) >= 0) {
            return true;
        }
    }
    return false;
}

/* Finds what a balance says of its currencies. *is: it is a balance of ccxt's. False: there is no
 * memory. */
static bool read_parts(struct json_lines *lines, const struct json_source *source,
                       struct json_slice text, bool *is)
{
    struct json_scan scan = json_read_members(text.at, text.length);
    struct json_member member, inner;

    lines->part_count = 0;
    *is = false;
    while (json_read_member(&scan, &member)) {
        int amount = amount_of(member.key);
        bool row = is_row(&member);
        *is |= row && has_amounts(member.value);
        if (row && is_name(source, member.key) &&
            !add_part(lines, member.key, member.value, OF_A_CURRENCY)) {
            return false;
        }
        if (amount < 0 || member.value.at[0] != '{') {
            continue;
        }
        *is |= amount < MAPS;
        struct json_scan map = json_read_members(member.value.at, member.value.length);
        while (json_read_member(&map, &inner)) {
            if (is_name(source, inner.key) && !add_part(lines, inner.key, inner.value, amount)) {
                return false;
            }
        }
    }
    return true;
}

static int compare_names(const void *a, const void *b)
{
    const struct balance_part *one = a, *other = b;
    size_t shorter = one->currency.length < other->currency.length ? one->currency.length
                                                                   : other->currency.length;
    int order = memcmp(one->currency.at, other->currency.at, shorter);

    if (order != 0 || one->currency.length != other->currency.length) {
        return order != 0 ? order : one->currency.length < other->currency.length ? -1 : 1;
    }
    return one->order < other->order ? -1 : 1;
}

static int compare_places(const void *a, const void *b)
{
    const struct balance_part *one = a, *other = b;

    if (one->group != other->group) {
        return one->group < other->group ? -1 : 1;
    }
    return one->order < other->order ? -1 : 1;
}

/* Puts the parts of a currency beside each other, the currencies in the order in which they stand.
 */
static void group_parts(struct json_lines *lines)
{
    if (lines->part_count == 0) {
        return;
    }
    qsort(lines->parts, lines->part_count, sizeof *lines->parts, compare_names);
    for (size_t i = 1; i < lines->part_count; i++) {
        struct balance_part *part = &lines->parts[i];
        if (part->currency.length == part[-1].currency.length &&
            memcmp(part->currency.at, part[-1].currency.at, part->currency.length) == 0) {
            part->group = part[-1].group;
        }
    }
    qsort(lines->parts, lines->part_count, sizeof *lines->parts, compare_places);
}

static bool is_zero_amount(struct json_slice value)
{
    char digits[LIMIT_DECIMAL_BYTES];

    if (value.at[0] == '"') {
        value = (struct json_slice){value.at + 1, value.length - 2};
    }
    int length = value.length <= LIMIT_DECIMAL_BYTES
                     ? decimal_canonical(value.at, value.length, digits)
                     : -1;
    return length > 0 && decimal_compare(digits, (size_t)length, "0", 1) == 0;
}

/* Writes the members of a currency's own row, and notes which amounts are among them. */
static char *put_row(char *at, struct json_slice row, unsigned *given, bool *nothing)
{
    struct json_scan scan = json_read_members(row.at, row.length);
    struct json_member member;

    while (json_read_member(&scan, &member)) {
        if (json_slice_is_absent(member.value)) {
            continue;
        }
        int amount = amount_of(member.key);
        *given |= amount >= 0 ? 1U << amount : 0;
        *nothing &= is_zero_amount(member.value);
        at = json_copy_member(at, &member);
    }
    return at;
}

/* Writes what the parts say of one currency behind `at`. Returns the end; NULL: there is nothing of
 * it. */
static char *put_currency(char *at, const struct balance_part *parts, size_t count)
{
    unsigned given = 0;
    bool nothing = true;

    for (size_t i = 0; i < count; i++) {
        const struct balance_part *part = &parts[i];
        if (part->amount == OF_A_CURRENCY) {
            at = put_row(at, part->value, &given, &nothing);
        } else if ((given >> part->amount & 1) == 0 && !json_slice_is_absent(part->value)) {
            given |= 1U << part->amount;
            nothing &= is_zero_amount(part->value);
            at = json_copy_value(at, amounts[part->amount], part->value);
        }
    }
    at = json_copy_value(at, "currency", parts[0].currency);
    return nothing ? NULL : at;
}

/* Says whether a row has no name, and something in it: it is kept in `extra`. */
static bool is_nameless(const struct json_source *source, const struct json_member *member)
{
    struct json_scan scan = json_read_members(member->value.at, member->value.length);
    struct json_member inner;
    bool nothing = true;

    if (!is_row(member) || is_name(source, member->key)) {
        return false;
    }
    while (nothing && json_read_member(&scan, &inner)) {
        nothing = json_slice_is_absent(inner.value) || is_zero_amount(inner.value);
    }
    return !nothing;
}

/* Writes the members of a balance that are those of all its rows, or of none but the first. */
static char *put_common(char *at, const struct json_source *source, struct json_slice text,
                        bool of_all)
{
    struct json_scan scan = json_read_members(text.at, text.length);
    struct json_member member;

    while (json_read_member(&scan, &member)) {
        bool info = json_slice_is_key(member.key, "info") && source->keep_info && of_all;
        bool all = json_slice_is_one_of(member.key, of_all_rows) || info;
        if (all == of_all && (info || !json_slice_is_one_of(member.key, of_no_row)) &&
            amount_of(member.key) < 0 && (!is_row(&member) || is_nameless(source, &member))) {
            at = json_copy_member(at, &member);
        }
    }
    return at;
}

/* Counts the rows without a name in the first record. */
static void count_nameless(struct json_line *line, const struct json_source *source,
                           struct json_slice text)
{
    struct json_scan scan = json_read_members(text.at, text.length);
    struct json_member member;
    unsigned count = 0;

    while (json_read_member(&scan, &member)) {
        count += is_nameless(source, &member);
    }
    if (count > 0 && line->problem[0] == '\0') {
        snprintf(line->problem, sizeof line->problem, "currency: %s",
                 record_fault_text(RECORD_FAULT_WRONG_TYPE));
    }
    line->misplaced += count;
}

/* Reads the row that has been written up to `end`. */
static int read_row(struct json_lines *lines, const struct json_source *source, char *end)
{
    if (end[-1] == ',') {
        end--;
    }
    *end++ = '}';
    size_t length = (size_t)(end - lines->text);
    if (!may_copy(lines, length) ||
        add_line(lines, source, "", (struct json_slice){lines->text, length}) != 0) {
        return -1;
    }
    struct blotter_balance *balance = &lines->lines[lines->count - 1].balance;
    balance->snapshot = balance->snapshot == 0 ? source->snapshot : balance->snapshot;
    return 0;
}

/* Adds a record for each currency that there is something of; a lone one without a currency if
 * there is none. */
static int add_balance(struct json_lines *lines, const struct json_source *source,
                       struct json_slice text)
{
    struct json_source of_row = *source;
    size_t before = lines->count, behind;

    of_row.kind = RECORD_BALANCE;
    of_row.recognised = true;
    group_parts(lines);
    if (!make_text(lines, 2 * text.length + 256)) {
        return -1;
    }
    lines->text[0] = '{';
    char *common = put_common(lines->text + 1, source, text, true);
    for (size_t i = 0; i < lines->part_count; i = behind) {
        for (behind = i + 1;
             behind < lines->part_count && lines->parts[behind].group == lines->parts[i].group;) {
            behind++;
        }
        char *at = lines->count == before ? put_common(common, source, text, false) : common;
        char *end = put_currency(at, &lines->parts[i], behind - i);
        if (end != NULL && read_row(lines, &of_row, end) != 0) {
            return -1;
        }
    }
    if (lines->count == before &&
        read_row(lines, &of_row, put_common(common, source, text, false)) != 0) {
        return -1;
    }
    count_nameless(&lines->lines[before], source, text);
    return 0;
}

/* Refuses what is no balance: an error that was answered must not pass for an empty account. */
static int refuse_balance(struct json_lines *lines, struct json_slice text)
{
    struct json_scan scan = json_read_members(text.at, text.length);
    struct json_member member;
    char keys[256], key[JSON_LINE_KEY_BYTES];
    size_t used = 0;

    while (json_read_member(&scan, &member) && used + JSON_LINE_KEY_BYTES + 16 < sizeof keys) {
        json_line_show_key(member.key.at + 1, member.key.at + member.key.length, key);
        used += (size_t)snprintf(keys + used, sizeof keys - used, "%s%s",
                                 used > 0 ? ", " : "an object of ", key);
    }
    snprintf(lines->problem, sizeof lines->problem,
             "%s is not a balance: it has no maps free, used and total, and no currency with such "
             "amounts. Give what fetch_balance() returns, {\"free\": {}, \"used\": {}, \"total\": "
             "{}} for an empty account, or name a currency",
             used > 0 ? keys : "nothing");
    return -1;
}

/* --- objects --- */

static int add_object(struct json_lines *lines, const struct json_source *source,
                      struct json_slice text)
{
    struct json_line *line = next_line(lines);
    struct json_slice currency;
    bool is_balance = false;

    if (line == NULL) {
        return -1;
    }
    if (json_line_open(line, &lines->workspace, source, text.at, text.length) != 0) {
        return json_lines_refuse(lines, "", line->problem);
    }
    if (line->kind == RECORD_BALANCE && !read_parts(lines, source, text, &is_balance)) {
        return -1;
    }
    if (is_balance) {
        return add_balance(lines, source, text);
    }
    if (line->kind == RECORD_BALANCE && !source->has_currency &&
        !json_find_member(text, "currency", "currency", &currency)) {
        return refuse_balance(lines, text);
    }
    if (json_line_take(line, &lines->workspace, source, text.at, text.length) != 0) {
        return json_lines_refuse(lines, "", line->problem);
    }
    lines->count++;
    return line->trades.length > 0 ? add_trades(lines, source, text) : 0;
}

int json_lines_add(struct json_lines *lines, const struct json_source *source, const char *text,
                   size_t length)
{
    struct json_scan scan;
    struct json_slice object;

    if (!json_read_list(text, length, &scan)) {
        return add_object(lines, source, (struct json_slice){text, length});
    }
    while (json_read_element(&scan, &object)) {
        if (object.at[0] != '{') {
            return json_lines_refuse(lines, "", "a list of something else than objects");
        }
        if (add_object(lines, source, object) != 0) {
            return -1;
        }
    }
    return 0;
}

void json_lines_clear(struct json_lines *lines)
{
    lines->count = lines->copied = 0;
    lines->problem[0] = '\0';
}

void json_lines_release(struct json_lines *lines)
{
    for (size_t i = 0; i < lines->made; i++) {
        json_line_release(&lines->lines[i]);
    }
    free(lines->lines);
    free(lines->workspace.memory);
    free(lines->text);
    free(lines->parts);
    *lines = (struct json_lines){0};
}
