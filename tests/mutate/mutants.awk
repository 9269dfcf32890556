# mutants.awk - every mutant of a C file, one a line: LINE <tab> FAMILY <tab> the line as the mutant has it.
# Nine families: relation, equality, logic, negation, arithmetic, assignment, constant, return, statement.
# Left alone: comments, preprocessor lines, static tables' type lines, declarations without code, CHECKs (a bug aborts), texts.

function emit(family, at, old, new) {
    printf "%d\t%s\t%s%s%s\n", NR, family, substr(text, 1, at - 1), new, substr(text, at + length(old))
}

# Every place of `old` (as it stands) in the code part of the line, outside string literals.
function each(family, old, new,    from, at) {
    for (from = 1; (at = index(substr(code, from), old)) > 0; from += at - 1 + length(old))
        emit(family, from + at - 1, old, new)
}

{
    text = $0
    code = $0
    if (in_comment) {
        if (!sub(/^.*\*\//, "", code)) next
        in_comment = 0
        next
    }
    if (code ~ /^[ \t]*\/\*/ && code !~ /\*\//) { in_comment = 1; next }
    if (code ~ /^#/ || code ~ /CHECK\(/ || code ~ /^[ \t]*(\/\*.*\*\/)?[ \t]*$/) next
    # what must not be touched keeps its place, as blanks
    while (match(code, /\/\*.*\*\/|\/\*.*$|"([^"\\]|\\.)*"/)) {
        blank = sprintf("%" RLENGTH "s", "")
        code = substr(code, 1, RSTART - 1) blank substr(code, RSTART + RLENGTH)
    }
    if (code ~ /^(static |const |extern )?[a-z_ ]+\**[a-z_]+\(.*[,{]?$/ && code !~ /^ /) next # a function's head
    if (code ~ /^[ \t]*\[[A-Z_]+\] += \{/) { # a row of a table: every cell
        from = index(code, "{")
        while (match(substr(code, from + 1), /[A-Z_]+/)) {
            at = from + RSTART; cell = substr(code, at, RLENGTH); from = at + RLENGTH - 1
            other = cell ~ /^RECEIVER_/ ? (cell == "RECEIVER_OFF" ? "RECEIVER_LIVE" : "RECEIVER_OFF") : cell == "F" ? "D" : cell == "A" ? "B" : "F"
            if (cell ~ /^(MODE_BOOT|RECEIVER_[A-Z]+|[A-Z])$/) emit("constant", at, cell, other)
        }
        next
    }
    each("relation", " < ", " <= "); each("relation", " <= ", " < "); each("relation", " > ", " >= "); each("relation", " >= ", " > ")
    each("relation", " < ", " >= "); each("relation", " > ", " <= "); each("relation", " <= ", " > "); each("relation", " >= ", " < ")
    each("equality", " == ", " != "); each("equality", " != ", " == ")
    each("logic", " && ", " || "); each("logic", " || ", " && ")
    each("negation", "(!", "("); each("negation", "&& !", "&& "); each("negation", "|| !", "|| ")
    each("negation", "if (", "if (!("); # completed below
    each("arithmetic", " + ", " - "); each("arithmetic", " - ", " + "); each("arithmetic", " * ", " / "); each("arithmetic", " / ", " * ")
    each("assignment", " |= ", " = "); each("assignment", " += ", " -= "); each("assignment", "++;", "--;"); each("assignment", " &= ", " |= ")
    rest = code; from = 0
    while (match(rest, /[^A-Za-z0-9_.][0-9]+[^A-Za-z0-9_.x]/)) {
        n = substr(rest, RSTART + 1, RLENGTH - 2)
        emit("constant", from + RSTART + 1, n, n + 1)
        if (n > 0) emit("constant", from + RSTART + 1, n, n == 1 ? 0 : 1)
        from += RSTART + RLENGTH - 2; rest = substr(rest, RSTART + RLENGTH - 1)
    }
    each("constant", "true", "false"); each("constant", "false", "true")
    if (match(code, /return [^;]+;/)) {
        value = substr(code, RSTART + 7, RLENGTH - 8)
        if (value != "0" && value != "false" && value != "NULL") emit("return", RSTART, substr(text, RSTART, RLENGTH), "return 0;")
        if (value ~ /^(0|false)$/) emit("return", RSTART, substr(text, RSTART, RLENGTH), "return 1;")
    }
    if (code ~ /^[ \t]+[a-z_>.\[\]()-]+([ \t]*[|+&*-]?=[^=]|\+\+|\().*;[ \t]*$/ && code !~ /return|case |\{/)
        emit("statement", 1, text, ";")
}
