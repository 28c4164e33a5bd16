#compdef noggin
# Completion of noggin for zsh: see noggin-completion(1).

_noggin() {
	local -a found
	local line word
	for line in "${(@f)$("${words[1]/#\~/$HOME}" complete -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
		word=${line%%$'\t'*}
		case $line in
		'') ;;
		:file) compset -P '-*='; _files ;;
		:folder) compset -P '-*='; _files -/ ;;
		*$'\t'*) found+=("${word//:/\\:}:${line#*$'\t'}") ;;
		*) found+=("${word//:/\\:}") ;;
		esac
	done
	(( $#found == 0 )) || _describe -t noggin noggin found
}

# Sourced, it only makes itself known.
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
	_noggin "$@"
else
	compdef _noggin noggin
fi
