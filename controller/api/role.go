package api

import "fmt"

// Role is what a token may do. Each role may do all that the ones before it may.
type Role int

// The roles, in ascending order. The zero Role may do nothing.
const (
	RoleNone     Role = iota
	RoleViewer        // read everything
	RoleOperator      // publish, start and steer rollouts, drain, purge
	RoleApprover      // approve what needs four eyes, and pass over gates
	RoleAdmin         // enroll agents
)

var roleNames = [...]string{"none", "viewer", "operator", "approver", "admin"}

// String returns the role's name.
func (r Role) String() string { return roleNames[r] }

// ParseRole reads the name of a role that may do something.
func ParseRole(s string) (Role, error) {
	for r := RoleViewer; r <= RoleAdmin; r++ {
		if roleNames[r] == s {
			return r, nil
		}
	}
	return RoleNone, fmt.Errorf("role %q is not viewer, operator, approver or admin", s)
}
