# Completion of shoal for bash: what could be typed next is asked of `shoal __complete`, which says nothing when no
# manager answers.

_shoal() {
  local breaks= line=${COMP_LINE:0:COMP_POINT} at word rest last=-1 before= current cut= candidate
  local -a words=()
  [[ $COMP_WORDBREAKS != *=* ]] || breaks+='='
  [[ $COMP_WORDBREAKS != *:* ]] || breaks+=':'
  # Bash breaks words at = and :, shoal does not: what touches is one word.
  for ((at = 0; at <= COMP_CWORD; at++)); do
    word=${COMP_WORDS[at]}
    rest=${line#"${line%%[![:blank:]]*}"}
    ((at < COMP_CWORD)) || word=$rest
    if [[ -n $breaks && $last -ge 0 && $rest == "$line" && ($word == [$breaks]* || $before == *[$breaks]) ]]; then
      words[last]+=$word
    else
      words[++last]=$word
    fi
    before=$word
    line=${rest#"$word"}
  done
  words=("${words[@]//[\"\']/}")
  current=${words[last]}
  [[ -z $breaks || $current != *[$breaks]* ]] || cut=${current%"${current##*[$breaks]}"}

  COMPREPLY=()
  while IFS= read -r candidate; do
    case $candidate in
      :files) compopt -o default 2>/dev/null ;;
      :folders) compopt -o dirnames 2>/dev/null ;;
      :nospace) compopt -o nospace 2>/dev/null ;;
      *)
        candidate=${candidate%%$'\t'*}
        COMPREPLY+=("${candidate#"$cut"}")
        ;;
    esac
  done < <(command shoal __complete -- "${words[@]:1}" 2>/dev/null)
}

complete -F _shoal shoal
