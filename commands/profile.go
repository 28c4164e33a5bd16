package commands

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"

	"github.com/urfave/cli/v2"

	"noggin/commands/cmdline"
)

// profileFlags are hidden: they are for whoever works on noggin's speed.
func profileFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "cpuprofile", Usage: "write a CPU profile to `FILE`", Hidden: true, TakesFile: true},
		&cli.StringFlag{Name: "memprofile", Usage: "write a heap profile to `FILE` at the end", Hidden: true, TakesFile: true},
	}
}

// profiles are those that the flags ask for, to be written when the command ends.
type profiles struct {
	cpu  *os.File // being written; nil: none
	heap string   // the file to write; "": none
}

func (p *profiles) start(c *cli.Context) (err error) {
	p.heap = c.String("memprofile")
	given := c.String("cpuprofile")
	if given == "" {
		return nil
	}
	if p.cpu, err = os.Create(given); err != nil {
		return cmdline.Usagef("--cpuprofile: %w", err)
	}
	if err := pprof.StartCPUProfile(p.cpu); err != nil {
		return fmt.Errorf("start the CPU profile: %w", err)
	}
	return nil
}

func (p *profiles) end() (err error) {
	if p.heap != "" {
		err = writeHeap(p.heap)
	}
	if p.cpu != nil {
		pprof.StopCPUProfile()
		err = errors.Join(err, p.cpu.Close())
	}
	return err
}

func writeHeap(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("--memprofile: %w", err)
	}
	runtime.GC() // so that what is shown is in use
	return errors.Join(pprof.Lookup("heap").WriteTo(file, 0), file.Close())
}
