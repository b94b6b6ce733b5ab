package exec

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"

	"github.com/omegacell/omegacell/cellstate"
)

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// leaf is the claim's name as one path element, for its task directory and cgroup.
func leaf(id cellstate.ClaimID) string {
	s := strings.ReplaceAll(id.String(), "/", "~")
	if len(s) <= 200 { // of the 255 bytes that a name may have
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return s[:160] + "~" + hex.EncodeToString(sum[:16])
}
