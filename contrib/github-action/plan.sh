#!/usr/bin/env bash
# Plans the objects of FILES on the fleet of FLEET. The text goes to the log and to the summary of the job, the JSON to
# the output `plan`. The exit status is that of `shardwise plan`: 1 if an object does not fit, 2 for a wrong object.
set -euo pipefail

words=()
add() { # add OPTION LINES: the option once for each line
  while IFS= read -r line; do
    if [ -n "$line" ]; then words+=("$1" "$line"); fi
  done <<< "$2"
}
add -f "$FILES"
add --fleet "$FLEET"
add --config "${CONFIG:-}"
if [ "${INDEPENDENT:-false}" = true ]; then words+=(--independent); fi

status=0
text=$(shardwise plan "${words[@]}" 2>&1) || status=$?
printf '%s\n' "$text"
printf '### Shardwise plan\n\n````text\n%s\n````\n' "$text" >> "$GITHUB_STEP_SUMMARY"
if [ "$status" -lt 2 ]; then
  # A plan that does not fit is an answer, too.
  document=$(shardwise plan "${words[@]}" -o json 2>/dev/null) || true
  printf 'plan<<SHARDWISE_PLAN_ENDS\n%s\nSHARDWISE_PLAN_ENDS\n' "$document" >> "$GITHUB_OUTPUT"
fi
exit "$status"
