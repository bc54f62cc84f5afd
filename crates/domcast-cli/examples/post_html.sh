#!/bin/sh
# Shows the load of this machine on a live page, with nothing but a shell and curl.
#
#   domcast demo                           # in another terminal
#   sh post_html.sh                        # then look at the posted HTML on http://127.0.0.1:8000
#
# The HTML of the whole view is posted each time; pages receive what changed, here a few dozen bytes.
# Usage: post_html.sh [SERVER [VIEW [TIMES]]]; DOMCAST_TOKEN is sent if the server asks for one.
set -eu

server=${1:-http://127.0.0.1:8000}
view=${2:-panel}
times=${3:-0} # 0: for ever

escaped() {
    sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g'
}

# A process keeps its row, with whatever is selected in it, because the row has a key.
html() {
    printf '<p>%s</p>\n<table>\n' "$(date | escaped)"
    ps -eo pid=,pcpu=,comm= --sort=-pcpu | head -n 8 | escaped |
        while read -r pid cpu command; do
            printf '<tr dc-key="%s"><td>%s</td><td>%s %%</td><td>%s</td></tr>\n' "$pid" "$pid" "$cpu" "$command"
        done
    printf '</table>\n'
}

# The token goes through standard input: arguments can be read by every user of the machine.
put() {
    printf '%s' "${DOMCAST_TOKEN:+header = \"Authorization: Bearer $DOMCAST_TOKEN\"}" |
        curl --config - --silent --show-error --fail-with-body --request PUT \
            --header 'Content-Type: text/html; charset=utf-8' --data-raw "$1" "$server/views/$view/html"
    echo
}

n=0
while :; do
    put "$(html)"
    n=$((n + 1))
    [ "$n" = "$times" ] && break
    sleep 1
done
