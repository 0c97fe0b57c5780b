#compdef shoal
# Completion of shoal for zsh: what could be typed next is asked of `shoal __complete`, which says nothing when no manager
# answers.

_shoal() {
  local answer word about
  local -a asked described without
  asked=("${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}")
  for answer in "${(@f)$(command shoal __complete -- "${asked[@]}" 2>/dev/null)}"; do
    case $answer in
      '') ;;
      :files)
        compset -P '--*='
        _files
        return
        ;;
      :folders)
        compset -P '--*='
        _files -/
        return
        ;;
      :nospace) without=(-S '') ;;
      *)
        word=${answer%%$'\t'*}
        about=
        [[ $answer != *$'\t'* ]] || about=:${answer#*$'\t'}
        described+=("${word//:/\\:}$about")
        ;;
    esac
  done
  _describe -t words shoal described "${without[@]}"
}

# Found in $fpath, this file is the body of the function itself; read by hand, it names the function.
if [[ $funcstack[1] == _shoal ]]; then
  _shoal "$@"
else
  compdef _shoal shoal
fi
