#!/bin/sh
# Take in what was handed in through ngshare, grade it, and give the pages back: nightly and whenever something comes.
# TERM_ROOT is the term's folder, DOOR a folder with hub/door/nbgrader_config.py; both belong to the grader alone.
# Exit status: 0 all well, 1 something needs a human, 2 wrong use; a lab in trouble doesn't stop the others.
set -u
: "${TERM_ROOT:?expected the folder of the term}" "${DOOR:?expected the folder that talks to ngshare}"
SEND=${SEND:-no}
worst=0

attempt() {
    "$@"
    status=$?
    if [ "$status" -gt "$worst" ]; then worst=$status; fi
    return "$status"
}

# The pages of one lab go out under the time of the last hand-in; unchanged ones stay, or each release would wake the
# unit that watches ngshare.
# shellcheck disable=SC2329  # `attempt` calls it
release() {
    fresh=0
    for page in letters/*/"$1.html"; do
        [ -f "$page" ] || continue
        student=$(basename "$(dirname "$page")")
        stamp=inbox/$student/$1/timestamp.txt
        there=outbox/$student/$1
        [ -f "$stamp" ] || continue
        if cmp -s "$page" "$there/$1.html" && cmp -s "$stamp" "$there/timestamp.txt"; then continue; fi
        mkdir -p "$there" && cp "$page" "$there/$1.html" && cp "$stamp" "$there/timestamp.txt" || return 1
        fresh=1
    done
    [ "$fresh" -eq 0 ] || nbgrader release_feedback "$1"
}

cd "$DOOR" || exit 2
chmod 700 . "$TERM_ROOT" || exit 2 # names and marks: by mode and not by umask, which the cage would be in, too
labs=$(autograder term check --open --root "$TERM_ROOT") || exit 2 # ngshare need not know the others yet
for lab in $labs; do
    attempt nbgrader collect --update "$lab"
    ls -d inbox/*/"$lab" >/dev/null 2>&1 || continue # nobody handed it in yet
    attempt autograder term collect "$lab" --root "$TERM_ROOT" --folder inbox
    attempt autograder term grade "$lab" --root "$TERM_ROOT"
    if [ "$SEND" = yes ]; then
        attempt autograder term send "$lab" --root "$TERM_ROOT" --folder letters
        attempt release "$lab"
    fi
done
exit "$worst"
