package commands

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"

	"github.com/urfave/cli/v2"
)

// profileFlags are hidden: they are for whoever works on noggin's speed.
func profileFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "cpuprofile", Usage: "write a CPU profile to `FILE`", Hidden: true, TakesFile: true},
		&cli.StringFlag{Name: "memprofile", Usage: "write a heap profile to `FILE` at the end", Hidden: true, TakesFile: true},
	}
}

// startProfiles begins what the flags ask for; the function it sets as endProfiles
// writes the files.
func (env *environment) startProfiles(c *cli.Context) error {
	cpu, heap := c.String("cpuprofile"), c.String("memprofile")
	if cpu != "" {
		file, err := os.Create(cpu)
		if err != nil {
			return usagef("--cpuprofile: %w", err)
		}
		if err := pprof.StartCPUProfile(file); err != nil {
			return fmt.Errorf("start the CPU profile: %w", errors.Join(err, file.Close()))
		}
		env.endProfiles = func() error { pprof.StopCPUProfile(); return file.Close() }
	}
	if heap == "" {
		return nil
	}
	endCPU := env.endProfiles
	env.endProfiles = func() error {
		file, err := os.Create(heap)
		if err != nil {
			return fmt.Errorf("--memprofile: %w", err)
		}
		runtime.GC() // so that what is shown is in use
		err = errors.Join(pprof.Lookup("heap").WriteTo(file, 0), file.Close())
		if endCPU != nil {
			err = errors.Join(err, endCPU())
		}
		return err
	}
	return nil
}
