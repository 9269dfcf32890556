#!/bin/sh
# sbom.sh BUILD - what the programs in BUILD are made of, in CycloneDX's words (1.5, JSON): each shared library that the loader
# takes in, the Debian package that it is from, that one's version and licences, and the file's SHA-256.
set -u
build=${1:-build}
programs="limberd limber limber-trainer limber-bridge"
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

quoted() { # a string of JSON
    printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g' | tr -d '\000-\037')"
}

sum() {
    sha256sum "$1" | cut -d ' ' -f 1
}

# "FILE PACKAGE" of each library, all asked for at once: the package may know it by the other of /lib and /usr/lib.
owners() {
    cut -d ' ' -f 2 "$work/libraries" | while read -r file; do echo "$file" "/usr${file#/usr}" "${file#/usr}"; done |
        tr ' ' '\n' | sort -u | xargs dpkg-query -S 2>/dev/null | sed -n 's/^\([^ ,]*\): \(.*\)$/\2 \1/p'
}

# As the package's copyright file has it, where that is in Debian's machine-readable form.
licences() {
    sed -n 's/^License: *\([^ ].*[^ ]\) *$/\1/p' "/usr/share/doc/${1%%:*}/copyright" 2>/dev/null | sort -u >"$work/licences"
    [ -s "$work/licences" ] || echo "see /usr/share/doc/${1%%:*}/copyright" >"$work/licences"
}

for p in $programs; do
    [ -x "$build/$p" ] || { echo "sbom: no $build/$p: run make first" >&2; exit 1; }
    readelf -d "$build/$p" | sed -n "s/.*(NEEDED).*\[\(.*\)\]/\1 $p/p" >>"$work/direct"
    ldd "$build/$p" | awk '$2 == "=>" { print $1, $3 } NF == 2 && $1 ~ /^\// { n = split($1, part, "/"); print part[n], $1 }' >>"$work/libraries"
done
sort -u "$work/libraries" -o "$work/libraries"
owners >"$work/owners"

{
    printf '{"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,\n "metadata": {"component": {"type": "application", "name": "limber", "version": %s,\n  "components": [' \
        "$(quoted "$(sed -n 's/^VERSION := //p' "$(dirname "$0")/Makefile")")"
    comma=
    for p in $programs; do
        printf '%s\n   {"type": "file", "name": "%s", "hashes": [{"alg": "SHA-256", "content": "%s"}]}' "$comma" $p "$(sum "$build/$p")"
        comma=,
    done
    printf ']}},\n "components": ['
    comma=
    while read -r soname file; do
        package=$(awk -v a="/usr${file#/usr}" -v b="${file#/usr}" '$1 == a || $1 == b { print $2; exit }' "$work/owners")
        [ -n "$package" ] || echo "sbom: $file: of no Debian package" >&2
        version=$([ -n "$package" ] && dpkg-query -W -f '${Version}' "$package")
        printf '%s\n  {"type": "library", "name": %s, "version": %s' "$comma" "$(quoted "$soname")" "$(quoted "${version:-unknown}")"
        [ -n "$package" ] && printf ', "purl": %s' "$(quoted "pkg:deb/debian/${package%%:*}@$version?arch=$(dpkg --print-architecture)")"
        printf ',\n   "hashes": [{"alg": "SHA-256", "content": "%s"}]' "$(sum "$file")"
        printf ',\n   "licenses": ['
        between=
        licences "${package:-unknown}"
        while read -r licence; do
            printf '%s{"license": {"name": %s}}' "$between" "$(quoted "$licence")"
            between=', '
        done <"$work/licences"
        printf '],\n   "properties": [{"name": "limber:file", "value": %s}, {"name": "limber:linked-by", "value": "%s"}]}' \
            "$(quoted "$file")" "$(awk -v s="$soname" '$1 == s { printf "%s%s", n++ ? " " : "", $2 }' "$work/direct")"
        comma=,
    done <"$work/libraries"
    printf ']}\n'
} >"$work/sbom.json" || exit 1
mv "$work/sbom.json" "$build/sbom.json"
awk '/"type": "library"/ { n++ } /linked-by", "value": "[a-z]/ { d++ } END { printf "%d libraries, %d of them linked to\n", n, d }' "$build/sbom.json"
echo "$build/sbom.json"
