#!/bin/sh
# embed_page.sh OUT: makes OUT.c, which holds the page: the files of drainer/web/page/ and the two
# libraries that npm fetches, at the versions of package-lock.json, into OUT.npm. Without npm, or where
# it cannot fetch them, OUT.c holds no page, and this is said: the program is whole but for the page.
set -eu
page=drainer/web/page
out=$1
libraries=$out.npm
why=

fetch() {
    command -v npm >/dev/null || {
        why="npm is not installed: deploy/packages.sh page, then make"
        return 1
    }
    mkdir -p "$libraries"
    cmp -s "$page/package-lock.json" "$libraries/package-lock.json" && [ -e "$libraries/fetched" ] && return 0
    rm -rf "$libraries/fetched"
    cp "$page/package.json" "$page/package-lock.json" "$libraries/"
    (cd "$libraries" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >npm.log 2>&1) || {
        tail -n 3 "$libraries/npm.log" >&2
        why="npm could not fetch its libraries: $libraries/npm.log"
        return 1
    }
    for package in lightweight-charts uplot fancy-canvas; do
        printf '%s %s\n\n' "$package" "$(sed -n 's/^ *"version": "\(.*\)",*$/\1/p' "$libraries/node_modules/$package/package.json" | head -n 1)"
        cat "$libraries/node_modules/$package"/LICEN[CS]E* 2>/dev/null || grep -h '"license"' "$libraries/node_modules/$package/package.json"
        echo
    done >"$libraries/licences.txt"
    : >"$libraries/fetched"
}

# put NAME TYPE FILE: one embedded file; .incbin takes its bytes as they are.
put() {
    label=page_$(printf '%s' "$1" | tr -c 'a-zA-Z0-9' '_')
    printf '__asm__(".section .rodata\\n%s: .incbin \\"%s\\"\\n%s_end: .byte 0\\n.previous\\n");\n' "$label" "$3" "$label"
    printf 'extern const unsigned char %s[] __attribute__((visibility("hidden")));\n' "$label"
    printf 'extern const unsigned char %s_end[] __attribute__((visibility("hidden")));\n' "$label"
    rows="$rows    {\"/$1\", \"$2\", $label, 0},
"
    ends="$ends    page_files[$count].length = (size_t)(${label}_end - $label);
"
    count=$((count + 1))
}

rows='' ends='' count=0
{
    echo '/* Made by drainer/web/embed_page.sh. */'
    echo '#include "drainer/web/api.h"'
    if fetch; then
        modules=$libraries/node_modules
        put index.html 'text/html; charset=utf-8' "$page/index.html"
        put openapi.json 'application/json; charset=utf-8' "$page/openapi.json"
        put page.css 'text/css; charset=utf-8' "$page/page.css"
        for script in page api candles charts decimal desk dom live orders pipeline table; do
            put "$script.js" 'text/javascript; charset=utf-8' "$page/$script.js"
        done
        put lightweight-charts.js 'text/javascript; charset=utf-8' "$modules/lightweight-charts/dist/lightweight-charts.standalone.production.mjs"
        put uPlot.esm.js 'text/javascript; charset=utf-8' "$modules/uplot/dist/uPlot.esm.js"
        put uPlot.min.css 'text/css; charset=utf-8' "$modules/uplot/dist/uPlot.min.css"
        put licences.txt 'text/plain; charset=utf-8' "$libraries/licences.txt"
    else
        echo "blotter web: built without its page, as $why; everything else is there" >&2
        echo "/* $why */"
        put openapi.json 'application/json; charset=utf-8' "$page/openapi.json"
    fi
    printf 'struct page_file page_files[] = {\n%s};\n' "$rows"
    printf 'const size_t page_file_count = %d;\n' "$count"
    printf '__attribute__((constructor)) static void page_files_measure(void)\n{\n%s}\n' "$ends"
} >"$out.tmp"
mv "$out.tmp" "$out"
