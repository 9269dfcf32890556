#!/bin/bash
# systemd_runs.sh BUILD - limberd@.service as a real systemd runs it: installed, started, watched, killed, restarted, stopped.
#
# systemd runs as process 1 of namespaces of its own, in a root of its own: a layer in memory over this machine's, which takes
# what is installed and is gone afterwards.  Needs root, cgroups and overlayfs; without them exits 77 and says what is missing.
set -u
build=$(cd "${1:-build}" && pwd) && cd "$(dirname "$0")/.." || exit 2
passed=0 failed=0

claim() { # TEXT COMMAND...: is it so?
    text=$1
    shift
    if "$@" >>"$work/log" 2>&1; then
        passed=$((passed + 1)) && echo "ok    $text"
    else
        failed=$((failed + 1)) && echo "FAIL  $text"
    fi
}

soon() { # SECONDS COMMAND...: within so many
    tenths=$((10 * $1))
    shift
    while ! "$@" >/dev/null 2>&1; do
        tenths=$((tenths - 1))
        [ $tenths -gt 0 ] || return 1
        sleep 0.1
    done
}

missing() {
    echo "systemd_runs: not tried: $1"
    exit 77
}

[ "$(id -u)" = 0 ] || missing "needs root"
[ -x /lib/systemd/systemd ] || missing "no systemd is installed"
grep -qw overlay /proc/filesystems || missing "this kernel has no overlayfs"
work=$(mktemp -d) || exit 2
outer='' groups=''
end() {
    [ -z "$outer" ] || kill -KILL "$outer" 2>/dev/null
    wait 2>/dev/null
    for g in $groups; do
        for _ in 1 2 3 4 5; do find "$g" -depth -type d -exec rmdir {} \; 2>/dev/null; [ -d "$g" ] || break; sleep 0.2; done
    done
    rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

# ---- inside: process 1 ----
# A root of its own before anything else: systemd empties /tmp when it begins, and must not find this machine's.
cat >"$work/boot" <<'EOF'
set -eu
mount --make-rprivate /
mem=$2/mem root=$2/mem/root
mkdir "$mem"
mount -t tmpfs -o mode=755 tmpfs "$mem"
mkdir "$mem/upper" "$mem/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$mem/upper,workdir=$mem/work" "$root"
: >"$root/limber-test" # by this one knows that one is in there
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
for d in run tmp var/tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$d"; done
chmod 1777 "$root/tmp" "$root/var/tmp"
for n in null zero full random urandom tty cpu_dma_latency; do [ ! -c /dev/$n ] || cp -a /dev/$n "$root/dev/"; done
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
if [ -d /sys/fs/cgroup/unified ]; then
    mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
    mkdir "$root/sys/fs/cgroup/systemd" "$root/sys/fs/cgroup/unified"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
    mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
    mount -o remount,ro "$root/sys/fs/cgroup" # no other hierarchy: those are not fenced off
else
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
fi
echo done >"$2/mounted"
make -s B="$1" DESTDIR="$root" install
systemd-sysusers --root="$root"
: >"$root/etc/fstab"
rm -rf "$root"/etc/systemd/system/*.wants
mkdir -p "$root/etc/limber/cartpole" "$root/run/systemd/system/limberd@cartpole.service.d" "$root/run/lock" "$root/old"
cp -r robots/cartpole/. "$root/etc/limber/cartpole/"
printf '[Service]\nStandardError=append:/run/limberd.log\n' >"$root/run/systemd/system/limberd@cartpole.service.d/log.conf"
printf '[Unit]\nDescription=nothing\nDefaultDependencies=no\n' >"$root/run/systemd/system/nothing.target"
echo done >"$2/installed"
cd "$root"
pivot_root . old
umount -l /old
[ "$(stat -f -c %T /)" = overlayfs ]
[ -z "$(ls /tmp)" ]
export container=limber
never=-sys_boot,-sys_module,-sys_time,-sys_rawio,-syslog
exec setpriv --inh-caps=$never --bounding-set=$never /lib/systemd/systemd --system --unit=nothing.target --log-target=null --show-status=0
EOF

for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    [ -f $hierarchy/cgroup.procs ] && mkdir -p $hierarchy/limber-test.$$ && groups="$groups $hierarchy/limber-test.$$"
done
[ -n "$groups" ] || missing "no cgroups here"
setsid setpriv --pdeathsig KILL sh -c 'for g in $3; do echo $$ >$g/cgroup.procs || exit 1; done
    exec unshare --mount --pid --fork --kill-child --ipc --uts --net --cgroup --mount-proc sh "$1" "$2" "$4"' sh "$work/boot" "$build" "$groups" "$work" \
    >"$work/log" 2>&1 </dev/null &
outer=$!

first() { cat /proc/$outer/task/$outer/children; } # unshare's child is process 1 there
# Never before it is in its new root: until then it sees this machine's systemd.
inside() { nsenter -t $(first) --mount --pid --ipc --uts --net --cgroup -- sh -c '[ -e /limber-test ] || exit 99; exec "$@"' sh "$@"; }
show() { inside systemctl show --value -p "$1" limberd@cartpole; }
is() { [ "$(show "$1")" = "$2" ]; }
pid() { show MainPID; }
status() { inside limber status --run-dir /run/limber/cartpole --json 2>/dev/null; }
says() { status | grep -q -- "$1"; }
of_main() { inside sh -c "grep -qE '$1' /proc/$(pid)/status"; }

up() { inside systemctl list-units; }
soon 60 up || {
    tail -5 "$work/log"
    [ -e "$work/mounted" ] && [ ! -e "$work/installed" ] && { echo "systemd_runs: cannot be installed"; exit 1; }
    missing "systemd does not start in namespaces here"
}
echo "systemd $(inside systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p') as process 1 of its own namespaces"

# ---- claims ----
claim "the unit as installed is started, and systemd hears that it is ready" inside systemctl start limberd@cartpole
claim "... within its own time" is ActiveState active
claim "its status line is limberd's" inside sh -c "systemctl status limberd@cartpole | grep -q 'Status: .*disarmed'"
claim "it answers operators on the sockets in its run directory" soon 5 says '"mode"'
claim "it runs as user limber, without a capability, without new privileges, with system calls filtered" \
    of_main "^Uid:[[:space:]]+$(inside id -u limber)[[:space:]]"
claim "... no capability" of_main '^CapEff:[[:space:]]+0+$'
claim "... no new privileges" of_main '^NoNewPrivs:[[:space:]]+1$'
claim "... and its system calls are filtered" of_main '^Seccomp:[[:space:]]+2$'
fifo() { inside sh -c "for t in /proc/$(pid)/task/*; do read -r name <\$t/comm; [ \"\$name\" = control ] && chrt -p \${t##*/}; done" | grep -q SCHED_FIFO; }
may_raise() { inside sh -c '[ $((0x$(sed -n "s/^CapEff:[[:space:]]*//p" /proc/1/status) >> 24 & 1)) = 1 ]'; } # CAP_SYS_RESOURCE
locked() { of_main '^VmLck:[[:space:]]+[1-9]'; }
if may_raise; then
    claim "its control thread has real-time priority all the same" fifo
    claim "... and its memory is locked" locked
else
    echo "-     LimitRTPRIO= and LimitMEMLOCK= not tried: whoever started this may not raise limits"
fi
robot() {
    inside setpriv --reuid limber --regid limber --init-groups sh -c \
        'setsid limber-bridge sim --robot cartpole --model /etc/limber/cartpole/model.xml --endpoint ipc:///run/limber/cartpole/robot.sock --quiet >/dev/null 2>&1 &'
}
operate() { inside setpriv --reuid nobody --regid limber --clear-groups limber $1 --run-dir /run/limber/cartpole; }
claim "a robot side of its group connects" robot
armed() { operate "arm --yes" && soon 10 says '"mode": *"\(BASELINE\|EXPLORE\|ADVANCED\)"'; }
claim "an operator, who is of its group and nothing else, arms it" soon 20 armed
claim "... and stops it" operate stop
claim "... at once" soon 5 says '"mode": *"DISARMED"'
stranger() { inside sh -c 'setpriv --reuid nobody --regid nogroup --clear-groups limber arm --yes --run-dir /run/limber/cartpole; echo exit $?'; }
refused() { stranger 2>&1 | grep -q '^exit [1-9]'; }
claim "... and lets it be armed again" operate reset
sleep 1.5 # every check has held for a second: an operator could
claim "a stranger cannot arm it" refused
claim "... it is not" says '"mode": *"DISARMED"'
claim "... and the operator can" soon 20 armed
experience() { inside sh -c '[ -s /var/lib/limber/cartpole/experience.db ]'; }
claim "experience is kept in its state directory" experience

before=$(pid)
another() { [ "$(pid)" != "$before" ] && [ "$(pid)" != 0 ] && is ActiveState active; }
kill_main() { [ "$before" -gt 1 ] && inside kill "$1" "$before"; }
kill_main -STOP
claim "stopped dead, it is killed by systemd's watchdog and started again" soon 15 another
watchdog() { [ "$(show NRestarts)" -ge 1 ]; }
claim "... as a restart" watchdog
claim "... disarmed" soon 5 says '"mode": *"DISARMED"'
before=$(pid)
kill_main -KILL
claim "killed, it is started again" soon 10 another
for _ in 1 2 3; do
    before=$(pid)
    kill_main -KILL
    soon 3 another
done
claim "the fourth time within a minute it stays down, failed" soon 5 is ActiveState failed
inside systemctl reset-failed limberd@cartpole
claim "after reset-failed it starts" inside systemctl start limberd@cartpole
began=$(date +%s%N)
inside systemctl stop limberd@cartpole
took=$((($(date +%s%N) - began) / 1000000))
claim "systemctl stop ends it by itself, with success" is Result success
quick() { [ $took -lt 5000 ]; }
claim "... in less than 5 s ($took ms)" quick
gone() { [ "$(inside sh -c "cat /proc/[0-9]*/comm" | grep -cE '^(systemd|limberd|limber-trainer)$')" = 1 ]; } # process 1 itself
claim "nothing of it is left" gone
inside sh -c 'sed -i s/control_hz:.*/control_hz:\ 1000000/ /etc/limber/cartpole/robot.yaml; systemctl start limberd@cartpole'
claim "a robot.yaml that is wrong fails, with the exit code for that" soon 3 is ExecMainStatus 78
sleep 2.5 # two and a half times RestartSec
claim "... and is not tried again" is NRestarts 0
claim "... failed" is ActiveState failed

echo "$passed passed, $failed failed"
[ $failed = 0 ] || { tail -20 "$work/log"; inside tail -20 /run/limberd.log; exit 1; }
