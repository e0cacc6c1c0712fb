# Changes of the machine. A dry run only says them; a run that fails takes back
# those it made.
# shellcheck shell=bash

changes=0
undo=()
declare -A made=()

# change TEXT COMMAND...
change() {
  changes=$((changes + 1))
  if [ -n "$dry_run" ]; then
    say "would $1"
  else
    say "$1"
    shift
    "$@"
  fi
}

# to_undo COMMAND...: what takes the last change back.
to_undo() {
  [ -n "$dry_run" ] || undo+=("$(printf '%q ' "$@")")
}

take_back() {
  local i
  if [ ${#undo[@]} -gt 0 ]; then
    say "taking back what was done"
  fi
  for ((i = ${#undo[@]} - 1; i >= 0; i--)); do
    eval "${undo[i]}" || true
  done
}

# make_folder FOLDER MODE OWNER
make_folder() {
  local parent
  parent=$(dirname "$1")
  if [ -n "${made[$1]:-}" ]; then
    return
  fi
  made[$1]=yes
  [ -e "$parent" ] || make_folder "$parent" 755 root
  if ! [ -d "$1" ]; then
    change "make $1" mkdir -m "$2" -- "$1"
    to_undo rmdir -- "$1"
    own "$3" "$1"
  elif [ "$3" != root ]; then
    keep_mode "$1" "$2" "$3"
  fi
}

# put_file SOURCE FILE MODE OWNER: in one step, so that nobody reads half of it.
put_file() {
  if [ -e "$2" ] && cmp -s -- "$1" "$2"; then
    keep_mode "$2" "$3" "$4"
    return
  fi
  if [ -e "$2" ]; then
    change "replace $2; the one before is $2.old" mv -f -- "$2" "$2.old"
    to_undo mv -f -- "$2.old" "$2"
  else
    change "write $2" true
    to_undo rm -f -- "$2"
  fi
  [ -n "$dry_run" ] || place "$@"
}

place() {
  rm -f -- "$2.new"
  cp -- "$1" "$2.new"
  chmod "$3" "$2.new"
  own "$4" "$2.new"
  mv -f -- "$2.new" "$2"
}

# keep_mode PATH MODE OWNER: mends what was loosened.
keep_mode() {
  local is wanted=$3
  is=$(stat -c '%a %U' -- "$1")
  [ -n "$is_system" ] || wanted=$(id -un)
  if [ "$is" != "$2 $wanted" ]; then
    change "set $1 to mode $2, owner $wanted (was ${is/ /, })" chmod "$2" -- "$1"
    own "$3" "$1"
  fi
}

# own OWNER PATH: below a prefix all is the caller's.
own() {
  if [ -n "$is_system" ] && [ -z "$dry_run" ]; then
    chown "$1:" -- "$2"
  fi
}
