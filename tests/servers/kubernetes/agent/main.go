// Copyright (c) 2026, the keyturn.runbooks contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command agent is all that is in the image of the tests' pods: it waits, or shows the digest of a file or of a variable.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) == 3 {
		show(os.Args[1], os.Args[2])
		return
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}

func show(kind, name string) {
	value := []byte(os.Getenv(name))
	if kind == "file" {
		read, err := os.ReadFile(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		value = read
	}
	fmt.Printf("%x\n", sha256.Sum256(value))
}
