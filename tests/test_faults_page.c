/* Claims about docs/faults.md: it has every name that the programs can show, and only those; its tests exist. */
#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core.h"
#include "daemon/fault_names.h"
#include "firmware-bridge/receiver.h"
#include "transport/session.h"
#include "tests/test.h"

static char *file_text(const char *path)
{
    FILE *f    = fopen(path, "re");
    char *text = calloc(1, 1 << 20);

    if (!f || !text || !fread(text, 1, (1 << 20) - 1, f))
        abort();
    fclose(f);
    return text;
}

/* The names in the first column of the table whose head begins with "| HEAD |". */
enum { NAMES = 64, LONG = 160 };
struct names {
    int  n;
    char name[NAMES][LONG];
};

static void column(const char *page, const char *head, struct names *out)
{
    char        start[LONG];
    const char *at;

    out->n = 0;
    snprintf(start, sizeof start, "\n| %s |", head);
    at = strstr(page, start);
    EXPECT(at != NULL);
    for (int line = 0; at; line++) {
        at = strchr(at + 1, '\n');
        if (!at || at[1] != '|')
            break;
        if (line == 0) /* the rule below the head */
            continue;
        const char *open = strchr(at, '`'), *close = open ? strchr(open + 1, '`') : NULL;
        EXPECT(open == at + 3 && close && out->n < NAMES);
        if (!close || out->n == NAMES)
            break;
        snprintf(out->name[out->n++], LONG, "%.*s", (int)(close - open - 1), open + 1);
    }
}

static bool in(const struct names *n, const char *name)
{
    for (int i = 0; i < n->n; i++)
        if (!strcmp(n->name[i], name))
            return true;
    return false;
}

/* Both ways, and nothing twice. */
static void same(const struct names *page, const struct names *code)
{
    EXPECT(page->n == code->n);
    for (int i = 0; i < code->n; i++)
        if (!in(page, code->name[i])) {
            printf("    not in docs/faults.md: %s\n", code->name[i]);
            EXPECT(!"complete");
        }
    for (int i = 0; i < page->n; i++)
        if (!in(code, page->name[i])) {
            printf("    only in docs/faults.md: %s\n", page->name[i]);
            EXPECT(!"known to the code");
        }
}

static void put(struct names *n, const char *name)
{
    snprintf(n->name[n->n++], LONG, "%s", name);
}

TEST(every_stop_code_gate_bit_and_count_is_on_the_page_of_faults_and_no_other)
{
    struct names page, code = { 0 };
    char        *text = file_text("docs/faults.md");

    for (int i = STOP_NONE + 1; i < STOP_CODES; i++)
        put(&code, core_stop_text((enum stop_code)i).name);
    put(&code, "crash"); /* stops_json.c: that of the daemon itself */
    column(text, "code", &page);
    same(&page, &code);
    code.n = 0;
    for (int i = 0; i < GATE_COUNT; i++)
        put(&code, gate_name((enum gate)i));
    column(text, "gate", &page);
    same(&page, &code);
    code.n = 0;
    for (int i = 0; i < fault_text_count; i++)
        put(&code, fault_texts[i].name);
    column(text, "fault bit", &page);
    same(&page, &code);
    code.n = 0;
    for (int i = 0; i < filter_text_count; i++)
        put(&code, filter_texts[i].name);
    column(text, "filter bit", &page);
    same(&page, &code);
    code.n = 0;
    for (int i = 0; i < RECEIVER_COUNTS; i++)
        put(&code, receiver_count_name((enum receiver_count)i));
    column(text, "robot side's count", &page);
    same(&page, &code);
    free(text);
}

/* The enumerators PREFIX_NAME = in a header, in its order, in small letters. */
static void enumerators(const char *path, const char *enumeration, const char *prefix, struct names *out)
{
    char *text = file_text(path), *at = strstr(text, enumeration), *end = at ? strchr(at, '}') : NULL;

    out->n = 0;
    EXPECT(end != NULL);
    for (at = end ? strstr(at, prefix) : NULL; at && at < end; at = strstr(at + 1, prefix)) {
        size_t n = strlen(prefix);
        char  *o = out->name[out->n];

        if (isalnum((unsigned char)at[-1]) || at[-1] == '_')
            continue;
        for (size_t i = 0; i < LONG - 1 && (isupper((unsigned char)at[n]) || isdigit((unsigned char)at[n]) || at[n] == '_'); n++)
            o[i++] = (char)tolower((unsigned char)at[n]), o[i] = 0;
        out->n++;
    }
    free(text);
}

TEST(every_fault_bit_filter_bit_and_count_has_its_name_in_its_place)
{
    struct names bits;

    enumerators("daemon/core.h", "enum fault_bit {", "FAULT_", &bits);
    EXPECT(bits.n == fault_text_count);
    for (int i = 0; i < bits.n && i < fault_text_count; i++)
        EXPECT_STR(fault_texts[i].name, bits.name[i]);
    enumerators("firmware-bridge/receiver.h", "enum receiver_count {", "RECEIVER_", &bits);
    EXPECT(bits.n == RECEIVER_COUNTS + 1); /* and RECEIVER_COUNTS itself */
    for (int i = 0; i < bits.n && i < RECEIVER_COUNTS; i++)
        EXPECT_STR(receiver_count_name((enum receiver_count)i), bits.name[i]);
    enumerators("daemon/filter.h", "    FILTER_NONFINITE = 1", "FILTER_", &bits);
    EXPECT(bits.n == filter_text_count);
    for (int i = 0; i < bits.n && i < filter_text_count; i++)
        EXPECT_STR(filter_texts[i].name, bits.name[i]);
}

TEST(every_fault_of_the_model_has_one_line_with_a_test_that_exists)
{
    static const struct {
        char letter;
        int  last;
    } ids[] = { { 'S', 11 }, { 'M', 9 }, { 'H', 12 }, { 'F', 10 } };
    char *text = file_text("docs/faults.md"), command[700];

    for (int k = 0; k < 4; k++) {
        for (int i = 1; i <= ids[k].last; i++) {
            char start[32];

            snprintf(start, sizeof start, "\n| %c%d |", ids[k].letter, i);
            char *row = strstr(text, start);
            EXPECT(row != NULL);
            EXPECT(!row || !strstr(row + 1, start));
            if (!row)
                continue;
            char *end = strchr(row + 1, '\n'), *last = end;
            while (last > row && !(last[-1] == '|' && last < end - 1)) /* the last cell */
                last--;
            int tests = 0;
            for (char *open = strchr(last, '`'); open && open < end; open = strchr(strchr(open + 1, '`') + 1, '`')) {
                int n = (int)strcspn(open + 1, "`");
                snprintf(command, sizeof command, "grep -qE '^TEST\\(%.*s\\)' tests/*.c", n, open + 1);
                bool there = system(command) == 0;
                EXPECT(there);
                if (!there)
                    printf("    %c%d names no test: %.*s\n", ids[k].letter, i, n, open + 1);
                tests++;
            }
            EXPECT(tests > 0);
        }
    }
    free(text);
}

/* "link.counts.xxx" on the page is a counter that exists. */
TEST(every_counter_of_the_link_on_the_page_of_faults_exists)
{
    char *text = file_text("docs/faults.md");
    int   n    = 0;

    for (char *at = strstr(text, "link.counts."); at; at = strstr(at + 1, "link.counts."), n++) {
        char   *name  = at + strlen("link.counts.");
        size_t  len   = strcspn(name, "`");
        bool    found = false;

        for (int k = 0; k < COUNT_KINDS; k++) {
            const char *have = session_count_name((enum session_count)k);
            found            = found || (strlen(have) == len && !strncmp(have, name, len));
        }
        EXPECT(found);
    }
    EXPECT(n > 8);
    free(text);
}
