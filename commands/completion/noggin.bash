# Completion of noggin for bash: see noggin-completion(1).

_noggin() {
	# bash parts words at "=" and ":" too, noggin does not: what has no blank
	# between is put together. bash replaces the last part alone.
	local line=${COMP_LINE:0:COMP_POINT} words=() part blanks i
	for ((i = 0; i <= COMP_CWORD; i++)); do
		blanks=${line%%[![:blank:]]*}
		line=${line#"$blanks"}
		part=${COMP_WORDS[i]}
		((i < COMP_CWORD)) || part=$line # as far as the cursor
		line=${line#"$part"}
		if ((i == 0)) || [[ $blanks ]]; then
			words+=("$part")
		else
			words[${#words[@]} - 1]+=$part
		fi
	done
	[[ $part != [=:] ]] || part=
	local kept=${words[${#words[@]} - 1]}
	kept=${kept%"$part"}

	COMPREPLY=()
	local found
	while IFS=$'\t' read -r found _; do
		case $found in
		:file)
			compopt -o filenames
			mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$part")
			;;
		:folder)
			compopt -o filenames
			mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "$part")
			;;
		*)
			found=${found#"$kept"}
			# A name may hold anything, and what stands on the line is run.
			[[ $found != *[^[:alnum:]_./:=+,@%-]* ]] || printf -v found %q "$found"
			COMPREPLY+=("$found")
			;;
		esac
	done < <("${words[0]/#\~/$HOME}" complete -- "${words[@]:1}" 2>/dev/null)
}

complete -F _noggin noggin
