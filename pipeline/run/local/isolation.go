package local

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// What held of a worker's isolation, as Exit.Isolation says it.
const (
	isolated    = "network namespace"
	notIsolated = "none"
)

// isolations are the ways to start a supervisor, the best first. The supervisor shares the namespace with its worker:
// it needs no network, and there it can bring the loopback interface up.
func isolations(network bool) []*syscall.SysProcAttr {
	plain := &syscall.SysProcAttr{Setsid: true}
	if network {
		return []*syscall.SysProcAttr{plain}
	}
	mine := func(id int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}
	}
	owned := &syscall.SysProcAttr{
		Setsid: true, Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: mine(os.Geteuid()), GidMappings: mine(os.Getegid()),
		AmbientCaps: []uintptr{unix.CAP_NET_ADMIN},
	}
	if os.Geteuid() != 0 {
		return []*syscall.SysProcAttr{owned, plain}
	}
	return []*syscall.SysProcAttr{{Setsid: true, Cloneflags: unix.CLONE_NEWNET}, owned, plain}
}

// isolate finishes what spawn began, and takes the right to do so from the worker. It is done for each job: the worker before,
// if it was root, may have taken the interface down.
func isolate(isolation string) string {
	if isolation == isolated {
		if err := loopbackUp(); err != nil {
			isolation += ", no loopback"
		}
	}
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	return isolation
}

// loopbackUp brings `lo` up in a fresh network namespace: libraries talk to themselves over it.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bringing up the loopback interface: %w", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return fmt.Errorf("bringing up the loopback interface: %w", err)
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("bringing up the loopback interface: %w", err)
	}
	return nil
}

// traffic is what ever went through this namespace, by device. What root alone may do there without a packet (addresses,
// rules of its firewall) is not seen in it.
func traffic() string { return string(kernelText("/proc/self/net/dev")) }
