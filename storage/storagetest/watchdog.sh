# Ends the server in the folder $1 and removes the folder, as soon as stdin
# ends: the process that started the server holds the other end, so that this
# happens however that process goes.
trap '' HUP INT QUIT TERM
cat >/dev/null

# A recorded process id may by now be another process's: ours works in our folder.
ours() {
	[ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$folder/data" ]
}

folder=$1
pid=$(head -n 1 "$folder/data/postmaster.pid" 2>/dev/null)
signal=QUIT
tries=0
while ours; do
	kill -s "$signal" "$pid"
	tries=$((tries + 1))
	[ "$tries" -lt 50 ] || signal=KILL
	sleep 0.1
done

# A killed server leaves its shared memory segment, named in the seventh line.
segment=$(sed -n '7s/.* //p' "$folder/data/postmaster.pid" 2>/dev/null)
[ -z "$segment" ] || ipcrm -m "$segment"

# The last of a killed server's processes may still be writing.
tries=0
until rm -rf "$folder" || [ "$tries" -ge 100 ]; do
	tries=$((tries + 1))
	sleep 0.1
done
