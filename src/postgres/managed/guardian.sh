# Starts a server and makes sure that it does not outlive the process that wants it.
#
# Arguments: a directory to remove at the end (or nothing), then the server's program and its arguments.
# Standard input: a pipe that only that process holds. It never writes; when it closes the pipe, or the system does
# because it died, the server is stopped: fast shutdown, and after half a minute immediate shutdown.
# Exit status: the server's.

# A signal for the whole session or control group is not the word to stop: the closed pipe is.
trap '' HUP INT TERM

socket_dir=$1
shift
exec 3<&0 </dev/null

"$@" 3<&- &
server=$!

{
    cat <&3
    # Repeated, because a server that has only just started ignores the first.
    seconds=0
    while [ "$seconds" -lt 30 ] && kill -s INT "$server"; do
        sleep 1
        seconds=$((seconds + 1))
    done
    kill -s QUIT "$server"
} >/dev/null 2>&1 &
watcher=$!

wait "$server"
status=$?
exec 2>/dev/null
kill -s KILL "$watcher"
if [ -n "$socket_dir" ]; then
    rmdir "$socket_dir"
fi
exit "$status"
