// Code generated of the routes and types of node/api by 'go test ./node/api -run Fresh -update'; DO NOT EDIT.

package client

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/url"
	"time"
)

// Status is GET /v1/status. Says how the node stands, with problems and what to do about them. Where
// rules are about reading, who may not administer sees no counts of records.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	v := new(Status)
	if err := c.Call(ctx, "GET", "/v1/status", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// ID is GET /v1/id. Says who the organisation is, and hands out its card.
func (c *Client) ID(ctx context.Context) (*ID, error) {
	v := new(ID)
	if err := c.Call(ctx, "GET", "/v1/id", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Peers is GET /v1/peers. Lists the members of the network, and which of their nodes are connected.
func (c *Client) Peers(ctx context.Context) (v []PeerStatus, err error) {
	err = c.Call(ctx, "GET", "/v1/peers", nil, nil, &v)
	return v, err
}

// Feeds is GET /v1/feeds. Says of each feed what is held, what is missing, of whom and since when.
func (c *Client) Feeds(ctx context.Context) (v []FeedStatus, err error) {
	err = c.Call(ctx, "GET", "/v1/feeds", nil, nil, &v)
	return v, err
}

// Handouts is GET /v1/handouts. Lists what left this node: exports, lists, streams, carried files,
// backups.
func (c *Client) Handouts(ctx context.Context) (v []Handout, err error) {
	err = c.Call(ctx, "GET", "/v1/handouts", nil, nil, &v)
	return v, err
}

// Refusals is GET /v1/refusals. Lists what partners say that they set aside of what was published here.
func (c *Client) Refusals(ctx context.Context) (v []RefusalInfo, err error) {
	err = c.Call(ctx, "GET", "/v1/refusals", nil, nil, &v)
	return v, err
}

// Quarantine is GET /v1/quarantine. Lists what arrived and is not used, with the reasons.
func (c *Client) Quarantine(ctx context.Context, q QuarantineQuery) (v []Quarantined, err error) {
	err = c.Call(ctx, "GET", "/v1/quarantine", values(q), nil, &v)
	return v, err
}

// QuarantineTell is POST /v1/quarantine/tell. Tells its publisher that something was set aside, and
// answers whom.
func (c *Client) QuarantineTell(ctx context.Context, body *TellRequest) (*OrgRef, error) {
	v := new(OrgRef)
	if err := c.Call(ctx, "POST", "/v1/quarantine/tell", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// NetworkCreate is POST /v1/network. Makes a network, of which this organisation is the first steward.
func (c *Client) NetworkCreate(ctx context.Context, body *NetworkCreateRequest) (*Network, error) {
	v := new(Network)
	if err := c.Call(ctx, "POST", "/v1/network", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// NetworkInvite is POST /v1/network/invite. Sponsors an organisation, and makes its invitation file.
func (c *Client) NetworkInvite(ctx context.Context, body *NetworkInviteRequest) (*Invitation, error) {
	v := new(Invitation)
	if err := c.Call(ctx, "POST", "/v1/network/invite", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// NetworkJoin is POST /v1/network/join. Joins the network that an invitation is for.
func (c *Client) NetworkJoin(ctx context.Context, body *NetworkJoinRequest) (*Network, error) {
	v := new(Network)
	if err := c.Call(ctx, "POST", "/v1/network/join", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// NetworkRemove is POST /v1/network/remove. Removes a member from the network.
func (c *Client) NetworkRemove(ctx context.Context, body *NetworkRemoveRequest) error {
	return c.Call(ctx, "POST", "/v1/network/remove", nil, body, nil)
}

// Trust is POST /v1/trust. Pins an organisation whose words a person compared.
func (c *Client) Trust(ctx context.Context, body *TrustRequest) (*ID, error) {
	v := new(ID)
	if err := c.Call(ctx, "POST", "/v1/trust", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Untrust is POST /v1/untrust. Takes back that an organisation is pinned.
func (c *Client) Untrust(ctx context.Context, body *UntrustRequest) (*Org, error) {
	v := new(Org)
	if err := c.Call(ctx, "POST", "/v1/untrust", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Topics is GET /v1/topics. Lists the topics that this node is in.
func (c *Client) Topics(ctx context.Context) (v []TopicInfo, err error) {
	err = c.Call(ctx, "GET", "/v1/topics", nil, nil, &v)
	return v, err
}

// TopicJoin is POST /v1/topics/{name}. Joins a topic.
func (c *Client) TopicJoin(ctx context.Context, name string) error {
	return c.Call(ctx, "POST", "/v1/topics/"+url.PathEscape(name), nil, nil, nil)
}

// TopicLeave is DELETE /v1/topics/{name}. Leaves a topic; what is held of it stays.
func (c *Client) TopicLeave(ctx context.Context, name string) error {
	return c.Call(ctx, "DELETE", "/v1/topics/"+url.PathEscape(name), nil, nil, nil)
}

// Agreements is GET /v1/agreements. Lists agreements, and how they stand.
func (c *Client) Agreements(ctx context.Context, q AgreementsQuery) (v []Agreement, err error) {
	err = c.Call(ctx, "GET", "/v1/agreements", values(q), nil, &v)
	return v, err
}

// AgreementPropose is POST /v1/agreements. Proposes a draft to its parties, signed. The body: A draft.
func (c *Client) AgreementPropose(ctx context.Context, body io.Reader) (*AgreementID, error) {
	v := new(AgreementID)
	if err := c.Call(ctx, "POST", "/v1/agreements", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AgreementCheck is POST /v1/agreements/check. Checks a draft, and says in words what it means. The
// body: A draft.
func (c *Client) AgreementCheck(ctx context.Context, body io.Reader) (*Check, error) {
	v := new(Check)
	if err := c.Call(ctx, "POST", "/v1/agreements/check", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AgreementTemplate is GET /v1/agreements/template. Writes a draft to begin with.
func (c *Client) AgreementTemplate(ctx context.Context, q TemplateQuery) (*Draft, error) {
	v := new(Draft)
	if err := c.Call(ctx, "GET", "/v1/agreements/template", values(q), nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AgreementImport is POST /v1/agreements/import. Takes agreements that were carried here by hand.
func (c *Client) AgreementImport(ctx context.Context, body *AgreementImportRequest) (v []Imported, err error) {
	err = c.Call(ctx, "POST", "/v1/agreements/import", nil, body, &v)
	return v, err
}

// AgreementDiff is POST /v1/agreements/diff. Says what an agreement changes of another.
func (c *Client) AgreementDiff(ctx context.Context, body *DiffRequest) (*Diff, error) {
	v := new(Diff)
	if err := c.Call(ctx, "POST", "/v1/agreements/diff", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AgreementSimulate is POST /v1/agreements/simulate. Says what would have been shared under an
// agreement.
func (c *Client) AgreementSimulate(ctx context.Context, body *SimulateRequest) (*Simulation, error) {
	v := new(Simulation)
	if err := c.Call(ctx, "POST", "/v1/agreements/simulate", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AgreementFromIEP is POST /v1/agreements/iep. Makes a draft of policies of IEP 2.0. The body: Policies
// of FIRST's Information Exchange Policy 2.0.
func (c *Client) AgreementFromIEP(ctx context.Context, q PartiesQuery, body io.Reader) (*Draft, error) {
	v := new(Draft)
	if err := c.Call(ctx, "POST", "/v1/agreements/iep", values(q), body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AgreementsAnew is POST /v1/agreements/anew. Drafts what an organisation that was founded anew has to
// sign again.
func (c *Client) AgreementsAnew(ctx context.Context, body *AnewRequest) (v []Anew, err error) {
	err = c.Call(ctx, "POST", "/v1/agreements/anew", nil, body, &v)
	return v, err
}

// Agreement is GET /v1/agreements/{id}. Shows an agreement with its text; never its secret.
func (c *Client) Agreement(ctx context.Context, id string) (*Agreement, error) {
	v := new(Agreement)
	if err := c.Call(ctx, "GET", "/v1/agreements/"+url.PathEscape(id), nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AgreementIEP is GET /v1/agreements/{id}/iep. Writes an agreement as policies of IEP 2.0.
func (c *Client) AgreementIEP(ctx context.Context, id string) (v []IEPPolicy, err error) {
	err = c.Call(ctx, "GET", "/v1/agreements/"+url.PathEscape(id)+"/iep", nil, nil, &v)
	return v, err
}

// AgreementAmendment is GET /v1/agreements/{id}/amendment. Writes a draft that amends an agreement.
func (c *Client) AgreementAmendment(ctx context.Context, id string) (*Draft, error) {
	v := new(Draft)
	if err := c.Call(ctx, "GET", "/v1/agreements/"+url.PathEscape(id)+"/amendment", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AgreementRenew is POST /v1/agreements/{id}/renew. Proposes an agreement again, until a later end.
func (c *Client) AgreementRenew(ctx context.Context, id string, body *RenewRequest) (*Renewed, error) {
	v := new(Renewed)
	if err := c.Call(ctx, "POST", "/v1/agreements/"+url.PathEscape(id)+"/renew", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AgreementDocument is GET /v1/agreements/{id}/document. Hands out an agreement as its parties signed
// it, its secret in it.
func (c *Client) AgreementDocument(ctx context.Context, id string) (*Document, error) {
	v := new(Document)
	if err := c.Call(ctx, "GET", "/v1/agreements/"+url.PathEscape(id)+"/document", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AgreementCountersign is POST /v1/agreements/{id}/countersign. Signs an agreement that another party
// proposed.
func (c *Client) AgreementCountersign(ctx context.Context, id string) (*AgreementID, error) {
	v := new(AgreementID)
	if err := c.Call(ctx, "POST", "/v1/agreements/"+url.PathEscape(id)+"/countersign", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AgreementReject is POST /v1/agreements/{id}/reject. Rejects an agreement that another party proposed.
func (c *Client) AgreementReject(ctx context.Context, id string, body *ReasonRequest) (*AgreementID, error) {
	v := new(AgreementID)
	if err := c.Call(ctx, "POST", "/v1/agreements/"+url.PathEscape(id)+"/reject", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AgreementTerminate is POST /v1/agreements/{id}/terminate. Terminates an agreement, at once or with
// notice.
func (c *Client) AgreementTerminate(ctx context.Context, id string, body *TerminationRequest) (*AgreementID, error) {
	v := new(AgreementID)
	if err := c.Call(ctx, "POST", "/v1/agreements/"+url.PathEscape(id)+"/terminate", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AgreementSuspend is POST /v1/agreements/{id}/suspend. Suspends an agreement.
func (c *Client) AgreementSuspend(ctx context.Context, id string, body *ReasonRequest) (*AgreementID, error) {
	v := new(AgreementID)
	if err := c.Call(ctx, "POST", "/v1/agreements/"+url.PathEscape(id)+"/suspend", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AgreementResume is POST /v1/agreements/{id}/resume. Resumes an agreement that this organisation
// suspended.
func (c *Client) AgreementResume(ctx context.Context, id string, body *ReasonRequest) (*AgreementID, error) {
	v := new(AgreementID)
	if err := c.Call(ctx, "POST", "/v1/agreements/"+url.PathEscape(id)+"/resume", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Search is GET /v1/records. Searches what this organisation can read. Of several versions of an object
// the newest is shown. The search is an entry of the audit log.
func (c *Client) Search(ctx context.Context, q SearchQuery) (*SearchResult, error) {
	v := new(SearchResult)
	if err := c.Call(ctx, "GET", "/v1/records", values(q), nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Show is GET /v1/records/{id}. Shows a record, or the versions of an object.
func (c *Client) Show(ctx context.Context, id string) (v []Record, err error) {
	err = c.Call(ctx, "GET", "/v1/records/"+url.PathEscape(id), nil, nil, &v)
	return v, err
}

// Explain is GET /v1/records/{id}/explain. Explains who may have a record and why, and where it came
// from.
func (c *Client) Explain(ctx context.Context, id string, q ExplainQuery) (*NodeExplanation, error) {
	v := new(NodeExplanation)
	if err := c.Call(ctx, "GET", "/v1/records/"+url.PathEscape(id)+"/explain", values(q), nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// WhatIf is POST /v1/records/{id}/what-if. Explains who might have a record at another time, or under a
// planned agreement.
func (c *Client) WhatIf(ctx context.Context, id string, body *WhatIfRequest) (*WhatIf, error) {
	v := new(WhatIf)
	if err := c.Call(ctx, "POST", "/v1/records/"+url.PathEscape(id)+"/what-if", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Withdraw is POST /v1/withdraw. Withdraws records that this organisation published.
func (c *Client) Withdraw(ctx context.Context, body *WithdrawRequest) (*Withdrawn, error) {
	v := new(Withdrawn)
	if err := c.Call(ctx, "POST", "/v1/withdraw", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Erase is POST /v1/erase. Erases records in the whole mesh, and says what was reached and what was
// not.
func (c *Client) Erase(ctx context.Context, body *EraseRequest) (*EraseReport, error) {
	v := new(EraseReport)
	if err := c.Call(ctx, "POST", "/v1/erase", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Watch is GET /v1/watch. Streams records as they arrive, from a cursor on. A line that is an Error
// ends the stream. What is sent is an entry of the audit log.
func (c *Client) Watch(ctx context.Context, q WatchQuery) iter.Seq2[*Record, error] {
	return stream[Record](ctx, c, "GET", "/v1/watch", values(q), nil)
}

// Export is GET /v1/export. Writes the records after a cursor in a form that other systems read.
func (c *Client) Export(ctx context.Context, q ExportQuery) (*Body, error) {
	return c.file(ctx, "GET", "/v1/export", values(q), nil, "Entente-Cursor")
}

// Publish is POST /v1/publish. Publishes a file in a topic; with dry_run it shows only what would be
// done. The plan comes first, then how far it is, then the receipt: what it counts is durable here. A
// line with failed ends the stream. The body: A STIX bundle, a MISP event or feed, or a list; at most
// 256 MiB.
func (c *Client) Publish(ctx context.Context, q PublishQuery, body io.Reader) iter.Seq2[*PublishEvent, error] {
	return stream[PublishEvent](ctx, c, "POST", "/v1/publish", values(q), body)
}

// Metrics is GET /metrics. Tells what is measured, as Prometheus reads it.
func (c *Client) Metrics(ctx context.Context) (*Body, error) {
	return c.file(ctx, "GET", "/metrics", nil, nil, "")
}

// Healthz is GET /healthz. Says whether the store can be read.
func (c *Client) Healthz(ctx context.Context) (*Health, error) {
	v := new(Health)
	if err := c.Call(ctx, "GET", "/healthz", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Readyz is GET /readyz. Says whether anything keeps the node from serving.
func (c *Client) Readyz(ctx context.Context) (*Readiness, error) {
	v := new(Readiness)
	if err := c.Call(ctx, "GET", "/readyz", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// CarryPack is POST /v1/carry/pack. Packs what this node holds for another organisation, to be carried
// by hand. The body: With after, the request that the pack answers; else nothing.
func (c *Client) CarryPack(ctx context.Context, q PackQuery, body io.Reader) (*Body, error) {
	return c.file(ctx, "POST", "/v1/carry/pack", values(q), body, "Entente-Carried")
}

// CarryRequest is POST /v1/carry/request. Makes a request for a pack: what this node holds already.
func (c *Client) CarryRequest(ctx context.Context, q CarryRequestQuery) (*Body, error) {
	return c.file(ctx, "POST", "/v1/carry/request", values(q), nil, "Entente-Carried")
}

// CarryInspect is POST /v1/carry/inspect. Says what a carried file holds, without changing anything.
// The body: A carried file, of any length.
func (c *Client) CarryInspect(ctx context.Context, body io.Reader) (*Carried, error) {
	v := new(Carried)
	if err := c.Call(ctx, "POST", "/v1/carry/inspect", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// CarryApply is POST /v1/carry/apply. Takes what a pack brings. The body: A pack, of any length.
func (c *Client) CarryApply(ctx context.Context, body io.Reader) (*CarryApplied, error) {
	v := new(CarryApplied)
	if err := c.Call(ctx, "POST", "/v1/carry/apply", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Releases is GET /v1/releases. Lists what waits for persons before it is passed on.
func (c *Client) Releases(ctx context.Context, q ReleasesQuery) (v []ReleaseItem, err error) {
	err = c.Call(ctx, "GET", "/v1/releases", values(q), nil, &v)
	return v, err
}

// Release is GET /v1/releases/{number}. Shows a release.
func (c *Client) Release(ctx context.Context, number string) (*ReleaseItem, error) {
	v := new(ReleaseItem)
	if err := c.Call(ctx, "GET", "/v1/releases/"+url.PathEscape(number), nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// ReleaseWithheld is GET /v1/releases/{number}/withheld. Says what publishing it with its origin
// withheld would leave out, or why it is refused.
func (c *Client) ReleaseWithheld(ctx context.Context, number string) (*WithheldPlan, error) {
	v := new(WithheldPlan)
	if err := c.Call(ctx, "GET", "/v1/releases/"+url.PathEscape(number)+"/withheld", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// ReleaseApprove is POST /v1/releases/{number}/approve. Approves a release.
func (c *Client) ReleaseApprove(ctx context.Context, number string, body *ReleaseVoteRequest) (*ReleaseItem, error) {
	v := new(ReleaseItem)
	if err := c.Call(ctx, "POST", "/v1/releases/"+url.PathEscape(number)+"/approve", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// ReleaseDeny is POST /v1/releases/{number}/deny. Denies a release.
func (c *Client) ReleaseDeny(ctx context.Context, number string, body *ReleaseVoteRequest) (*ReleaseItem, error) {
	v := new(ReleaseItem)
	if err := c.Call(ctx, "POST", "/v1/releases/"+url.PathEscape(number)+"/deny", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Exclusions is GET /v1/exclusions. Lists exclusions of organisations from own records, with who
// acknowledged them.
func (c *Client) Exclusions(ctx context.Context) (v []ExclusionInfo, err error) {
	err = c.Call(ctx, "GET", "/v1/exclusions", nil, nil, &v)
	return v, err
}

// Exclude is POST /v1/exclusions. Takes own records back from organisations.
func (c *Client) Exclude(ctx context.Context, body *ExcludeRequest) (*Excluded, error) {
	v := new(Excluded)
	if err := c.Call(ctx, "POST", "/v1/exclusions", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// ReleaseMode is GET /v1/release-mode. Says what is done with records that may be passed on.
func (c *Client) ReleaseMode(ctx context.Context) (*ReleaseMode, error) {
	v := new(ReleaseMode)
	if err := c.Call(ctx, "GET", "/v1/release-mode", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// SetReleaseMode is POST /v1/release-mode. Sets what is done with records that may be passed on.
func (c *Client) SetReleaseMode(ctx context.Context, body *ReleaseModeRequest) (*ReleaseMode, error) {
	v := new(ReleaseMode)
	if err := c.Call(ctx, "POST", "/v1/release-mode", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Requests is GET /v1/requests. Lists requests for information that wait for a reply, own ones and
// those of others.
func (c *Client) Requests(ctx context.Context, q RequestsQuery) (v []RequestInfo, err error) {
	err = c.Call(ctx, "GET", "/v1/requests", values(q), nil, &v)
	return v, err
}

// Ask is POST /v1/requests. Asks an organisation for information.
func (c *Client) Ask(ctx context.Context, body *AskRequest) (*RequestInfo, error) {
	v := new(RequestInfo)
	if err := c.Call(ctx, "POST", "/v1/requests", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Request is GET /v1/requests/{name}. Shows a request with its replies, and how many records are held
// about it.
func (c *Client) Request(ctx context.Context, name string) (*RequestInfo, error) {
	v := new(RequestInfo)
	if err := c.Call(ctx, "GET", "/v1/requests/"+url.PathEscape(name), nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Reply is POST /v1/requests/{name}/reply. Replies to a request, or declines it.
func (c *Client) Reply(ctx context.Context, name string, body *ReplyRequest) (*RequestInfo, error) {
	v := new(RequestInfo)
	if err := c.Call(ctx, "POST", "/v1/requests/"+url.PathEscape(name)+"/reply", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Match is POST /v1/match. Finds the indicators whose patterns compare something with one of the
// values. At most 1,000 values. Whether a pattern matches is for the caller to find out.
func (c *Client) Match(ctx context.Context, body *MatchRequest) (*SearchResult, error) {
	v := new(SearchResult)
	if err := c.Call(ctx, "POST", "/v1/match", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// MatchOpen is GET /v1/match/open. Lists the indicators whose patterns compare otherwise than with a
// value.
func (c *Client) MatchOpen(ctx context.Context, q MatchOpenQuery) (*SearchResult, error) {
	v := new(SearchResult)
	if err := c.Call(ctx, "GET", "/v1/match/open", values(q), nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// About is GET /v1/about. Lists what is held about a value, wherever it stands.
func (c *Client) About(ctx context.Context, q AboutQuery) (*About, error) {
	v := new(About)
	if err := c.Call(ctx, "GET", "/v1/about", values(q), nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AboutErase is POST /v1/about/erase. Erases what is held about a value, and asks others to.
func (c *Client) AboutErase(ctx context.Context, body *AboutEraseRequest) (*ErasedAbout, error) {
	v := new(ErasedAbout)
	if err := c.Call(ctx, "POST", "/v1/about/erase", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// ErasureRequests is GET /v1/erasures/requests. Lists requests to erase that were made to this
// organisation.
func (c *Client) ErasureRequests(ctx context.Context) (v []ErasureAsk, err error) {
	err = c.Call(ctx, "GET", "/v1/erasures/requests", nil, nil, &v)
	return v, err
}

// ErasuresAsked is GET /v1/erasures/asked. Lists requests to erase that this organisation made.
func (c *Client) ErasuresAsked(ctx context.Context) (v []ErasureAsk, err error) {
	err = c.Call(ctx, "GET", "/v1/erasures/asked", nil, nil, &v)
	return v, err
}

// ErasureAsk is POST /v1/erasures/ask. Asks organisations to erase records.
func (c *Client) ErasureAsk(ctx context.Context, body *ErasureAskRequest) (v []ErasureAsk, err error) {
	err = c.Call(ctx, "POST", "/v1/erasures/ask", nil, body, &v)
	return v, err
}

// ErasureAnswer is POST /v1/erasures/{id}/answer. Answers a request to erase.
func (c *Client) ErasureAnswer(ctx context.Context, id string, body *ErasureAnswerRequest) (*ErasureAsk, error) {
	v := new(ErasureAsk)
	if err := c.Call(ctx, "POST", "/v1/erasures/"+url.PathEscape(id)+"/answer", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Holds is GET /v1/holds. Lists legal holds.
func (c *Client) Holds(ctx context.Context, q HoldsQuery) (v []HoldInfo, err error) {
	err = c.Call(ctx, "GET", "/v1/holds", values(q), nil, &v)
	return v, err
}

// HoldAdd is POST /v1/holds. Sets a legal hold of a record, a value or an organisation.
func (c *Client) HoldAdd(ctx context.Context, body *HoldAddRequest) (*HoldInfo, error) {
	v := new(HoldInfo)
	if err := c.Call(ctx, "POST", "/v1/holds", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// HoldRelease is POST /v1/holds/{id}/release. Releases a legal hold.
func (c *Client) HoldRelease(ctx context.Context, id string, body *HoldReleaseRequest) (*HoldInfo, error) {
	v := new(HoldInfo)
	if err := c.Call(ctx, "POST", "/v1/holds/"+url.PathEscape(id)+"/release", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// HoldKept is GET /v1/holds/kept. Shows what would have been erased, and is under a legal hold.
func (c *Client) HoldKept(ctx context.Context, q HoldKeptQuery) (v []KeptRecord, err error) {
	err = c.Call(ctx, "GET", "/v1/holds/kept", values(q), nil, &v)
	return v, err
}

// Views is GET /v1/views. Lists the views: searches that are kept by name.
func (c *Client) Views(ctx context.Context) (v []View, err error) {
	err = c.Call(ctx, "GET", "/v1/views", nil, nil, &v)
	return v, err
}

// ViewSet is PUT /v1/views/{name}. Keeps a view, in the place of one of the same name.
func (c *Client) ViewSet(ctx context.Context, name string, body *ViewRequest) (*View, error) {
	v := new(View)
	if err := c.Call(ctx, "PUT", "/v1/views/"+url.PathEscape(name), nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// ViewRemove is DELETE /v1/views/{name}. Removes a view.
func (c *Client) ViewRemove(ctx context.Context, name string) error {
	return c.Call(ctx, "DELETE", "/v1/views/"+url.PathEscape(name), nil, nil, nil)
}

// Consumers is GET /v1/consumers. Lists who may come over the network.
func (c *Client) Consumers(ctx context.Context) (v []Consumer, err error) {
	err = c.Call(ctx, "GET", "/v1/consumers", nil, nil, &v)
	return v, err
}

// ConsumerAdd is POST /v1/consumers. Lets a person or a machine come over the network, and makes its
// token.
func (c *Client) ConsumerAdd(ctx context.Context, body *ConsumerRequest) (*ConsumerToken, error) {
	v := new(ConsumerToken)
	if err := c.Call(ctx, "POST", "/v1/consumers", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// ConsumerRemove is DELETE /v1/consumers/{name}. Removes a consumer; its token opens nothing any more.
func (c *Client) ConsumerRemove(ctx context.Context, name string) error {
	return c.Call(ctx, "DELETE", "/v1/consumers/"+url.PathEscape(name), nil, nil, nil)
}

// ConsumerOwn is POST /v1/consumers/{name}/own. Has one of the people answer for a consumer.
func (c *Client) ConsumerOwn(ctx context.Context, name string, body *ConsumerOwnRequest) error {
	return c.Call(ctx, "POST", "/v1/consumers/"+url.PathEscape(name)+"/own", nil, body, nil)
}

// ConsumerConfirm is POST /v1/consumers/{name}/confirm. Confirms a consumer that came from a backup;
// its token opens again.
func (c *Client) ConsumerConfirm(ctx context.Context, name string) error {
	return c.Call(ctx, "POST", "/v1/consumers/"+url.PathEscape(name)+"/confirm", nil, nil, nil)
}

// Changes is GET /v1/changes. Lists what happened to what this organisation can read, in order, after a
// cursor.
func (c *Client) Changes(ctx context.Context, q ChangesQuery) (*ChangesResult, error) {
	v := new(ChangesResult)
	if err := c.Call(ctx, "GET", "/v1/changes", values(q), nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// MISP is GET /v1/misp. Tells which members of the mesh organisations of MISP are, and the label of
// what an instance pushes without one.
func (c *Client) MISP(ctx context.Context) (*MISPSettings, error) {
	v := new(MISPSettings)
	if err := c.Call(ctx, "GET", "/v1/misp", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// MISPTLPSet is PUT /v1/misp/tlp. Sets the label of what an instance pushes without one.
func (c *Client) MISPTLPSet(ctx context.Context, body *MISPTLPRequest) (*MISPSettings, error) {
	v := new(MISPSettings)
	if err := c.Call(ctx, "PUT", "/v1/misp/tlp", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// MISPOrgSet is PUT /v1/misp/orgs/{uuid}. Says which member of the mesh an organisation of MISP is.
func (c *Client) MISPOrgSet(ctx context.Context, uuid string, body *MISPOrgRequest) (*MISPSettings, error) {
	v := new(MISPSettings)
	if err := c.Call(ctx, "PUT", "/v1/misp/orgs/"+url.PathEscape(uuid), nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// MISPOrgRemove is DELETE /v1/misp/orgs/{uuid}. Forgets which member of the mesh an organisation of
// MISP is.
func (c *Client) MISPOrgRemove(ctx context.Context, uuid string) error {
	return c.Call(ctx, "DELETE", "/v1/misp/orgs/"+url.PathEscape(uuid), nil, nil, nil)
}

// MirrorForget is DELETE /v1/mirror/{node}. Removes from the database that follows this node what
// another node wrote that will not come back.
func (c *Client) MirrorForget(ctx context.Context, node string) error {
	return c.Call(ctx, "DELETE", "/v1/mirror/"+url.PathEscape(node), nil, nil, nil)
}

// Backup is POST /v1/backup. Makes a backup of one moment, sealed to keys that are kept off line.
func (c *Client) Backup(ctx context.Context, body *BackupRequest) (*Body, error) {
	return c.file(ctx, "POST", "/v1/backup", nil, jsonOf(body), "Entente-Backup")
}

// Output is GET /v1/outputs/{format}. Writes the values of a view that may go to a machine, scored and
// aged, less what is on a warninglist.
func (c *Client) Output(ctx context.Context, format string, q OutputQuery) (*Body, error) {
	return c.file(ctx, "GET", "/v1/outputs/"+url.PathEscape(format), values(q), nil, "Entente-Values")
}

// OutputExplain is GET /v1/outputs/explain. Says why a value is on the lists for machines, or is not.
func (c *Client) OutputExplain(ctx context.Context, q OutputExplainQuery) (*OutputsExplanation, error) {
	v := new(OutputsExplanation)
	if err := c.Call(ctx, "GET", "/v1/outputs/explain", values(q), nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Warninglists is GET /v1/warninglists. Lists the warninglists: values that are never put out to
// machines.
func (c *Client) Warninglists(ctx context.Context) (v []Warninglist, err error) {
	err = c.Call(ctx, "GET", "/v1/warninglists", nil, nil, &v)
	return v, err
}

// WarninglistAdd is POST /v1/warninglists. Keeps a warninglist, in the place of one of the same name.
// The body: A list in MISP's format (list.json).
func (c *Client) WarninglistAdd(ctx context.Context, body io.Reader) (*Warninglist, error) {
	v := new(Warninglist)
	if err := c.Call(ctx, "POST", "/v1/warninglists", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// WarninglistRemove is DELETE /v1/warninglists/{name}. Forgets a warninglist.
func (c *Client) WarninglistRemove(ctx context.Context, name string) error {
	return c.Call(ctx, "DELETE", "/v1/warninglists/"+url.PathEscape(name), nil, nil, nil)
}

// WarninglistProtect is POST /v1/warninglists/protected. Says which names and networks are never put
// out: this organisation's own.
func (c *Client) WarninglistProtect(ctx context.Context, body *ProtectedRequest) (*Protected, error) {
	v := new(Protected)
	if err := c.Call(ctx, "POST", "/v1/warninglists/protected", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Nodes is GET /v1/nodes. Lists the nodes of this organisation, and those that were removed.
func (c *Client) Nodes(ctx context.Context) (v []OwnNode, err error) {
	err = c.Call(ctx, "GET", "/v1/nodes", nil, nil, &v)
	return v, err
}

// NodeApprove is POST /v1/nodes/approve. Puts a new node on the card, and makes the enrolment that it
// takes.
func (c *Client) NodeApprove(ctx context.Context, body *NodeApproveRequest) (*Enrolment, error) {
	v := new(Enrolment)
	if err := c.Call(ctx, "POST", "/v1/nodes/approve", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// NodeEnrol is POST /v1/nodes/enrol. Makes this node, which asked for it, a node of its organisation.
func (c *Client) NodeEnrol(ctx context.Context, body *EnrolmentRequest) (*Enrolled, error) {
	v := new(Enrolled)
	if err := c.Call(ctx, "POST", "/v1/nodes/enrol", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// NodeRemove is POST /v1/nodes/remove. Revokes a node: removes it from the card, and says where its
// feeds end.
func (c *Client) NodeRemove(ctx context.Context, body *NodeRemoveRequest) (*RemovedNodeReport, error) {
	v := new(RemovedNodeReport)
	if err := c.Call(ctx, "POST", "/v1/nodes/remove", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// NodeRenew is POST /v1/nodes/renew. Lets a node that is still on the card go on.
func (c *Client) NodeRenew(ctx context.Context, body *NodeNameRequest) (*NodeRef, error) {
	v := new(NodeRef)
	if err := c.Call(ctx, "POST", "/v1/nodes/renew", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// NodeReseal is POST /v1/nodes/reseal. Seals anew what a removed node published, for whoever lacks its
// keys.
func (c *Client) NodeReseal(ctx context.Context, body *NodeNameRequest) (*Resealed, error) {
	v := new(Resealed)
	if err := c.Call(ctx, "POST", "/v1/nodes/reseal", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Keys is GET /v1/keys. Lists the keys of this organisation and of this node, in force and retired,
// where they are, and what ends when. Nothing in it is secret.
func (c *Client) Keys(ctx context.Context) (*KeyList, error) {
	v := new(KeyList)
	if err := c.Call(ctx, "GET", "/v1/keys", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// KeyRotateAge is POST /v1/keys/age. Makes a new age identity, whose recipient goes on the card.
func (c *Client) KeyRotateAge(ctx context.Context, body *KeyRotateAgeRequest) (*IdentityInfo, error) {
	v := new(IdentityInfo)
	if err := c.Call(ctx, "POST", "/v1/keys/age", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Audit is GET /v1/audit. Shows entries of the audit log, the newest last. That they were looked at is
// an entry itself.
func (c *Client) Audit(ctx context.Context, q AuditQuery) (v []AuditEntry, err error) {
	err = c.Call(ctx, "GET", "/v1/audit", values(q), nil, &v)
	return v, err
}

// AuditVerify is POST /v1/audit/verify. Verifies the audit logs, also against checkpoints that were
// kept elsewhere.
func (c *Client) AuditVerify(ctx context.Context, body *AuditVerifyRequest) (v []AuditCheck, err error) {
	err = c.Call(ctx, "POST", "/v1/audit/verify", nil, body, &v)
	return v, err
}

// AuditCheckpoint is GET /v1/audit/checkpoint. Hands out a signed checkpoint of the audit log.
func (c *Client) AuditCheckpoint(ctx context.Context) (*Checkpoint, error) {
	v := new(Checkpoint)
	if err := c.Call(ctx, "GET", "/v1/audit/checkpoint", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AuditCosigned is GET /v1/audit/cosigned. Lists the logs of other nodes that were cosigned here.
func (c *Client) AuditCosigned(ctx context.Context) (v []CosignedLog, err error) {
	err = c.Call(ctx, "GET", "/v1/audit/cosigned", nil, nil, &v)
	return v, err
}

// AuditCompare is POST /v1/audit/cosigned. Holds a checkpoint of another node's log against the one
// that was cosigned here.
func (c *Client) AuditCompare(ctx context.Context, body *AuditCompareRequest) (*Compared, error) {
	v := new(Compared)
	if err := c.Call(ctx, "POST", "/v1/audit/cosigned", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AuditProof is GET /v1/audit/proof/{n}. Proves that an entry is in the log.
func (c *Client) AuditProof(ctx context.Context, n string, q LogQuery) (*AuditProof, error) {
	v := new(AuditProof)
	if err := c.Call(ctx, "GET", "/v1/audit/proof/"+url.PathEscape(n), values(q), nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AuditErase is POST /v1/audit/erase. Erases the details of entries; that they were there stays.
func (c *Client) AuditErase(ctx context.Context, body *AuditEraseRequest) (*AuditErased, error) {
	v := new(AuditErased)
	if err := c.Call(ctx, "POST", "/v1/audit/erase", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// AuditExport is GET /v1/audit/export. Writes the audit log to a file that anybody can verify.
func (c *Client) AuditExport(ctx context.Context, q AuditExportQuery) (*Body, error) {
	return c.file(ctx, "GET", "/v1/audit/export", values(q), nil, "Entente-Entries")
}

// AuditReport is GET /v1/audit/report. Reports what was shared with an organisation, and what was
// withheld from it.
func (c *Client) AuditReport(ctx context.Context, q ReportQuery) (*Body, error) {
	return c.file(ctx, "GET", "/v1/audit/report", values(q), nil, "")
}

// AuditRegister is GET /v1/audit/register. Writes the register of processing.
func (c *Client) AuditRegister(ctx context.Context, q RegisterQuery) (*Body, error) {
	return c.file(ctx, "GET", "/v1/audit/register", values(q), nil, "")
}

// Rules is GET /v1/rules. Shows the local rules that are in force, and the people that they are about.
func (c *Client) Rules(ctx context.Context) (*RulesInfo, error) {
	v := new(RulesInfo)
	if err := c.Call(ctx, "GET", "/v1/rules", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// RulesLoad is POST /v1/rules. Puts local rules in force.
func (c *Client) RulesLoad(ctx context.Context, body *RulesRequest) (*RulesInfo, error) {
	v := new(RulesInfo)
	if err := c.Call(ctx, "POST", "/v1/rules", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// RulesCheck is POST /v1/rules/check. Checks local rules, and changes nothing.
func (c *Client) RulesCheck(ctx context.Context, body *RulesRequest) (*RulesCheck, error) {
	v := new(RulesCheck)
	if err := c.Call(ctx, "POST", "/v1/rules/check", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// RulesConfirm is POST /v1/rules/confirm. Confirms the rules that are in doubt here.
func (c *Client) RulesConfirm(ctx context.Context, body *RulesConfirmRequest) (*RulesInfo, error) {
	v := new(RulesInfo)
	if err := c.Call(ctx, "POST", "/v1/rules/confirm", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// RulesSchema is GET /v1/rules/schema. Hands out the Cedar schema of local rules.
func (c *Client) RulesSchema(ctx context.Context) (*RulesSchema, error) {
	v := new(RulesSchema)
	if err := c.Call(ctx, "GET", "/v1/rules/schema", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// People is GET /v1/people. Lists the people of the node.
func (c *Client) People(ctx context.Context, q PeopleQuery) (v []Person, err error) {
	err = c.Call(ctx, "GET", "/v1/people", values(q), nil, &v)
	return v, err
}

// PersonShow is GET /v1/people/{name}. Shows one of the people.
func (c *Client) PersonShow(ctx context.Context, name string) (*Person, error) {
	v := new(Person)
	if err := c.Call(ctx, "GET", "/v1/people/"+url.PathEscape(name), nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// PersonSet is PUT /v1/people/{name}. Adds one of the people, or changes who they are and what they may
// do.
func (c *Client) PersonSet(ctx context.Context, name string, body *PersonSetRequest) (*PersonChanged, error) {
	v := new(PersonChanged)
	if err := c.Call(ctx, "PUT", "/v1/people/"+url.PathEscape(name), nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// PersonRemove is DELETE /v1/people/{name}. Removes one of the people, and ends what they have open.
// When it answers, their streams have ended and their tokens open nothing.
func (c *Client) PersonRemove(ctx context.Context, name string, q PersonRemoveQuery) (*Removed, error) {
	v := new(Removed)
	if err := c.Call(ctx, "DELETE", "/v1/people/"+url.PathEscape(name), values(q), nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// PersonHandOver is POST /v1/people/{name}/hand-over. Has another answer for the consumers, sinks,
// sources and views of one of the people, at this node.
func (c *Client) PersonHandOver(ctx context.Context, name string, body *PersonHandOverRequest) (*HandedOver, error) {
	v := new(HandedOver)
	if err := c.Call(ctx, "POST", "/v1/people/"+url.PathEscape(name)+"/hand-over", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// PersonConfirm is POST /v1/people/{name}/confirm. Confirms one of the people who came from a backup.
func (c *Client) PersonConfirm(ctx context.Context, name string) error {
	return c.Call(ctx, "POST", "/v1/people/"+url.PathEscape(name)+"/confirm", nil, nil, nil)
}

// Requirements is GET /v1/requirements. Says which acts need a second person.
func (c *Client) Requirements(ctx context.Context) (v []Requirement, err error) {
	err = c.Call(ctx, "GET", "/v1/requirements", nil, nil, &v)
	return v, err
}

// Require is POST /v1/requirements. Says whether an act needs a second person.
func (c *Client) Require(ctx context.Context, body *RequireTwoRequest) (*Requirement, error) {
	v := new(Requirement)
	if err := c.Call(ctx, "POST", "/v1/requirements", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Acts is GET /v1/acts. Lists the acts that wait for a second person.
func (c *Client) Acts(ctx context.Context) (v []PendingAct, err error) {
	err = c.Call(ctx, "GET", "/v1/acts", nil, nil, &v)
	return v, err
}

// Act is GET /v1/acts/{id}. Shows an act that waits, with its request.
func (c *Client) Act(ctx context.Context, id string) (*PendingAct, error) {
	v := new(PendingAct)
	if err := c.Call(ctx, "GET", "/v1/acts/"+url.PathEscape(id), nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// ActApprove is POST /v1/acts/{id}/approve. Approves an act, and carries it out as it was asked for.
func (c *Client) ActApprove(ctx context.Context, id string) (*ActDone, error) {
	v := new(ActDone)
	if err := c.Call(ctx, "POST", "/v1/acts/"+url.PathEscape(id)+"/approve", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// ActDeny is POST /v1/acts/{id}/deny. Denies an act, or takes back one's own.
func (c *Client) ActDeny(ctx context.Context, id string, body *ActDenyRequest) error {
	return c.Call(ctx, "POST", "/v1/acts/"+url.PathEscape(id)+"/deny", nil, body, nil)
}

// Me is GET /v1/me. Says who the caller is to this node, and what their roles give.
func (c *Client) Me(ctx context.Context) (*Me, error) {
	v := new(Me)
	if err := c.Call(ctx, "GET", "/v1/me", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Mandates is GET /v1/mandates. Lists mandates, given and held.
func (c *Client) Mandates(ctx context.Context) (v []MandateInfo, err error) {
	err = c.Call(ctx, "GET", "/v1/mandates", nil, nil, &v)
	return v, err
}

// MandateGive is POST /v1/mandates. Gives an agent the mandate to publish on this organisation's
// behalf.
func (c *Client) MandateGive(ctx context.Context, body *MandateRequest) (*MandateID, error) {
	v := new(MandateID)
	if err := c.Call(ctx, "POST", "/v1/mandates", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// MandateImport is POST /v1/mandates/import. Takes a mandate that was carried here by hand.
func (c *Client) MandateImport(ctx context.Context, body *FileBodyRequest) (*MandateID, error) {
	v := new(MandateID)
	if err := c.Call(ctx, "POST", "/v1/mandates/import", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// MandateRevoke is POST /v1/mandates/{id}/revoke. Revokes a mandate.
func (c *Client) MandateRevoke(ctx context.Context, id string, body *ReasonRequest) (*MandateID, error) {
	v := new(MandateID)
	if err := c.Call(ctx, "POST", "/v1/mandates/"+url.PathEscape(id)+"/revoke", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// MandateFile is GET /v1/mandates/{id}/file. Hands out a mandate as a file.
func (c *Client) MandateFile(ctx context.Context, id string) (*FileBody, error) {
	v := new(FileBody)
	if err := c.Call(ctx, "GET", "/v1/mandates/"+url.PathEscape(id)+"/file", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// OriginProve is POST /v1/origins/{id}/prove. Proves who made a record that was passed on without its
// origin.
func (c *Client) OriginProve(ctx context.Context, id string) (*FileBody, error) {
	v := new(FileBody)
	if err := c.Call(ctx, "POST", "/v1/origins/"+url.PathEscape(id)+"/prove", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Sinks is GET /v1/sinks. Lists where changes are delivered, and how far each came.
func (c *Client) Sinks(ctx context.Context) (v []SinkInfo, err error) {
	err = c.Call(ctx, "GET", "/v1/sinks", nil, nil, &v)
	return v, err
}

// SinkAdd is POST /v1/sinks. Has changes delivered to a receiver.
func (c *Client) SinkAdd(ctx context.Context, body *AddSinkRequest) (*AddedSink, error) {
	v := new(AddedSink)
	if err := c.Call(ctx, "POST", "/v1/sinks", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// SinkRemove is DELETE /v1/sinks/{name}. Ends the delivery to a receiver.
func (c *Client) SinkRemove(ctx context.Context, name string) error {
	return c.Call(ctx, "DELETE", "/v1/sinks/"+url.PathEscape(name), nil, nil, nil)
}

// SinkTest is POST /v1/sinks/{name}/test. Sends a receiver a message that says nothing, and tells what
// came of it.
func (c *Client) SinkTest(ctx context.Context, name string) error {
	return c.Call(ctx, "POST", "/v1/sinks/"+url.PathEscape(name)+"/test", nil, nil, nil)
}

// SinkOwn is POST /v1/sinks/{name}/own. Has one of the people answer for a sink.
func (c *Client) SinkOwn(ctx context.Context, name string, body *ConsumerOwnRequest) error {
	return c.Call(ctx, "POST", "/v1/sinks/"+url.PathEscape(name)+"/own", nil, body, nil)
}

// SinkReplay is POST /v1/sinks/{name}/replay. Delivers again what came after a cursor.
func (c *Client) SinkReplay(ctx context.Context, name string, body *ReplaySinkRequest) error {
	return c.Call(ctx, "POST", "/v1/sinks/"+url.PathEscape(name)+"/replay", nil, body, nil)
}

// Sources is GET /v1/sources. Lists the sources, and how far each came.
func (c *Client) Sources(ctx context.Context) (v []SourceView, err error) {
	err = c.Call(ctx, "GET", "/v1/sources", nil, nil, &v)
	return v, err
}

// SourceAdd is POST /v1/sources. Has a folder, a URL, a TAXII collection or a MISP feed fetched and
// published.
func (c *Client) SourceAdd(ctx context.Context, body *SourceAddRequest) (*SourceView, error) {
	v := new(SourceView)
	if err := c.Call(ctx, "POST", "/v1/sources", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Source is GET /v1/sources/{name}. Shows a source.
func (c *Client) Source(ctx context.Context, name string) (*SourceView, error) {
	v := new(SourceView)
	if err := c.Call(ctx, "GET", "/v1/sources/"+url.PathEscape(name), nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// SourceRemove is DELETE /v1/sources/{name}. Ends a source; what it published stays.
func (c *Client) SourceRemove(ctx context.Context, name string, q SourceRemoveQuery) (*SourceName, error) {
	v := new(SourceName)
	if err := c.Call(ctx, "DELETE", "/v1/sources/"+url.PathEscape(name), values(q), nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// SourceRun is POST /v1/sources/{name}/run. Runs a source now.
func (c *Client) SourceRun(ctx context.Context, name string, body *SourceRunRequest) (*SourceReport, error) {
	v := new(SourceReport)
	if err := c.Call(ctx, "POST", "/v1/sources/"+url.PathEscape(name)+"/run", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// SourcePause is POST /v1/sources/{name}/pause. Pauses a source.
func (c *Client) SourcePause(ctx context.Context, name string) (*SourceName, error) {
	v := new(SourceName)
	if err := c.Call(ctx, "POST", "/v1/sources/"+url.PathEscape(name)+"/pause", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// SourceResume is POST /v1/sources/{name}/resume. Lets a source go on.
func (c *Client) SourceResume(ctx context.Context, name string) (*SourceName, error) {
	v := new(SourceName)
	if err := c.Call(ctx, "POST", "/v1/sources/"+url.PathEscape(name)+"/resume", nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// SourceOwn is POST /v1/sources/{name}/own. Has one of the people answer for a source.
func (c *Client) SourceOwn(ctx context.Context, name string, body *ConsumerOwnRequest) (*SourceName, error) {
	v := new(SourceName)
	if err := c.Call(ctx, "POST", "/v1/sources/"+url.PathEscape(name)+"/own", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// DeadLetters is GET /v1/deadletters. Lists what sources fetched and could not publish, and why.
func (c *Client) DeadLetters(ctx context.Context, q DeadLettersQuery) (v []DeadLetter, err error) {
	err = c.Call(ctx, "GET", "/v1/deadletters", values(q), nil, &v)
	return v, err
}

// DeadLetter is GET /v1/deadletters/{id}. Shows a dead letter.
func (c *Client) DeadLetter(ctx context.Context, id string) (*DeadLetter, error) {
	v := new(DeadLetter)
	if err := c.Call(ctx, "GET", "/v1/deadletters/"+url.PathEscape(id), nil, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

// DeadRetry is POST /v1/deadletters/retry. Tries dead letters again.
func (c *Client) DeadRetry(ctx context.Context, body *DeadPickRequest) (*DeadResult, error) {
	v := new(DeadResult)
	if err := c.Call(ctx, "POST", "/v1/deadletters/retry", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// DeadDrop is POST /v1/deadletters/drop. Forgets dead letters.
func (c *Client) DeadDrop(ctx context.Context, body *DeadPickRequest) (*DeadResult, error) {
	v := new(DeadResult)
	if err := c.Call(ctx, "POST", "/v1/deadletters/drop", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Doctor is POST /v1/doctor. Looks at the node and its machine, asks peers whether it can be reached,
// and names the repair of what is not as it should be. It takes up to about 15 seconds.
func (c *Client) Doctor(ctx context.Context, body *DoctorRequest) (*DoctorReport, error) {
	v := new(DoctorReport)
	if err := c.Call(ctx, "POST", "/v1/doctor", nil, body, v); err != nil {
		return nil, err
	}
	return v, nil
}

// BackupVerified is POST /v1/backup/verified. Notes that a backup of this node was verified and is
// whole.
func (c *Client) BackupVerified(ctx context.Context, body *BackupVerifiedRequest) error {
	return c.Call(ctx, "POST", "/v1/backup/verified", nil, body, nil)
}

// OpenAPI is GET /v1/openapi.json. Describes this API as OpenAPI 3.1.
func (c *Client) OpenAPI(ctx context.Context) (v map[string]any, err error) {
	err = c.Call(ctx, "GET", "/v1/openapi.json", nil, nil, &v)
	return v, err
}

type AboutQuery struct {
	Value string `query:"value" required:"true"` // a value in any notation
	Exact bool   `query:"exact"`                 // only what the index finds
	Limit uint64 `query:"limit"`                 // at most as many records; 0: 100; never more than 10000
}

type AgreementsQuery struct {
	Inbox bool `query:"inbox"` // only those that wait for this organisation's signature
}

type AuditExportQuery struct {
	Log     string `query:"log"`     // an earlier log that is held; without it, the present one
	Details bool   `query:"details"` // with the details: such a file holds personal data
}

type AuditQuery struct {
	Kind      string `query:"kind"`      // only of this kind: publish, disclose and so on
	Person    string `query:"person"`    // only what was done for this person
	From      string `query:"from"`      // since: 2026-01-31, 2026-01-31T09:30:00Z, 36h or 7d
	To        string `query:"to"`        // until
	Org       string `query:"org"`       // only what concerns this organisation
	Agreement string `query:"agreement"` // only what was decided under this agreement
	Record    string `query:"record"`    // only what concerns this record, by its whole id
	Log       string `query:"log"`       // an earlier log that is held; without it, the present one
	Limit     uint64 `query:"limit"`     // at most as many
}

type CarryRequestQuery struct {
	To string `query:"to" required:"true"` // the organisation that is to pack, by name or id
}

type ChangesQuery struct {
	After uint64 `query:"after"` // the cursor that the last page ended with
	Limit uint64 `query:"limit"` // at most as many; 0: 100; never more than 10000
	View  string `query:"view"`  // only of the records that a view holds
}

type DeadLettersQuery struct {
	Source string `query:"source"` // of one source only
	Held   bool   `query:"held"`   // those that are kept under a legal hold only, too
}

type ExplainQuery struct {
	Org string `query:"org"` // only what concerns this organisation
}

type ExportQuery struct {
	Since  uint64 `query:"since"`  // only what came after this cursor
	Format string `query:"format"` // lines: observables, for blocklists; stix: a bundle; jsonl: one record a line; misp: events; lines, csv, stix, jsonl, misp; without it, lines
	Own    bool   `query:"own"`    // only what this organisation made and published itself
	Topic  string `query:"topic"`  // with own: only of this topic
}

type HoldKeptQuery struct {
	Hold string `query:"hold"` // only under this one
}

type HoldsQuery struct {
	All bool `query:"all"` // also those that ended
}

type LogQuery struct {
	Log string `query:"log"` // an earlier log that is held; without it, the present one
}

type MatchOpenQuery struct {
	After uint64 `query:"after"` // the cursor that the last page ended with
}

type OutputExplainQuery struct {
	View     string `query:"view"`                  // the name of a view
	Topic    string `query:"topic"`                 // a topic, instead of a view
	MinScore uint64 `query:"min_score"`             // the least score, 1 to 100
	Value    string `query:"value" required:"true"` // an address, a domain, a URL, a hash
}

type OutputQuery struct {
	View     string `query:"view"`      // the name of a view
	Topic    string `query:"topic"`     // a topic, instead of a view
	MinScore uint64 `query:"min_score"` // the least score, 1 to 100
}

type PackQuery struct {
	To     string   `query:"to"`    // the organisation that it is for, by name or id; with after it may be absent
	Topics []string `query:"topic"` // only these topics; none: all that this node is in
	After  bool     `query:"after"` // the body is the request that the pack answers
}

type PartiesQuery struct {
	From string `query:"from" required:"true"` // who gives
	To   string `query:"to" required:"true"`   // who is given to
}

type PeopleQuery struct {
	All bool `query:"all"` // also those who left
}

type PersonRemoveQuery struct {
	HandOver string `query:"hand_over"` // who is to answer for what they own; without it, their tokens end, and their sinks and sources stand still
	End      bool   `query:"end"`       // their sinks and sources are removed
}

type PublishQuery struct {
	Topic           string   `query:"topic" required:"true"`
	Format          string   `query:"format"`             // auto, stix, misp or list; without it, auto
	Validation      string   `query:"validation"`         // of STIX: lenient or strict; without it, lenient
	File            string   `query:"file"`               // its name, for messages
	TLP             string   `query:"tlp"`                // clear, green, amber, amber+strict or red
	PAP             string   `query:"pap"`                // permissible actions: clear, green, amber or red
	Personal        string   `query:"personal"`           // none, network (addresses of victims) or all; without it undetermined, which is treated as all
	PersonalChecked bool     `query:"personal_checked"`   // a person looked at records that seem to hold more personal data than is stated
	Countries       []string `query:"country"`            // ISO 3166-1 alpha-2 codes of the countries that it is about
	Purposes        []string `query:"purpose"`            // what it may be used for
	To              []string `query:"to"`                 // only to these organisations
	Exclude         []string `query:"exclude"`            // not to these organisations
	Origin          string   `query:"origin"`             // named or withheld: whether who may pass it on may withhold whose it is; without it, named
	Onward          []string `query:"onward"`             // to whom it may be passed on: nobody, partners, kind:police and the like, or organisations
	OnwardTLP       string   `query:"onward_tlp"`         // up to which TLP it may be passed on
	Retention       uint64   `query:"retention"`          // days that readers may keep it; 0: no bound of its own
	OnBehalf        string   `query:"on_behalf"`          // the organisation on whose behalf it is published, under its mandate
	Reliability     string   `query:"reliability"`        // of a list: reliability of its source on the Admiralty scale, A to F
	Credibility     string   `query:"credibility"`        // of a list: credibility of what it says on the Admiralty scale, 1 to 6
	Evaluation      string   `query:"europol_evaluation"` // of a list: Europol's evaluation, as B2
	EuropolHandling []string `query:"europol_handling"`   // of a list: Europol's handling codes, H0 to H3
	EuropolText     string   `query:"europol_text"`       // of a list: what the handling codes restrict, in words; required with H3
	Generation      uint64   `query:"generation"`         // of the plan that somebody agreed to; if the state changed since, nothing is published
	DryRun          bool     `query:"dry_run"`            // only the plan
	IDs             bool     `query:"ids"`                // the ids of all records in the receipt, however many
	Copies          uint64   `query:"copies"`             // wait until as many other organisations hold it
	Received        []string `query:"received"`           // wait until these organisations signed that they opened what is for them
	Wait            string   `query:"wait"`               // how long to wait: 30s, 5m; without it, a minute
}

type QuarantineQuery struct {
	ID string `query:"id"` // only this; without it, all
}

type RegisterQuery struct {
	From   string `query:"from"`   // first day: 2026-01-31, or 365d ago
	To     string `query:"to"`     // day after the last; without it, now
	Format string `query:"format"` // json, csv; without it, json
}

type ReleasesQuery struct {
	All bool `query:"all"` // also those that were decided
}

type ReportQuery struct {
	Org       string `query:"org" required:"true"` // the organisation, by name or id
	Agreement string `query:"agreement"`           // only what was decided under this agreement
	From      string `query:"from"`                // first day: 2026-01-31, or 90d ago
	To        string `query:"to"`                  // day after the last; without it, now
	Format    string `query:"format"`              // json, csv, html; without it, json
}

type RequestsQuery struct {
	All bool `query:"all"` // also those that have a reply
}

type SearchQuery struct {
	Value     string `query:"value"`     // an observable in any notation, defanged ones too, or a STIX id
	Type      string `query:"type"`      // a STIX type
	Topic     string `query:"topic"`     // only of this topic
	Since     string `query:"since"`     // received since: 2026-01-31, 2026-01-31T09:30:00Z, 36h or 7d
	After     uint64 `query:"after"`     // the cursor that the last page ended with
	Limit     uint64 `query:"limit"`     // at most as many; 0: 100; never more than 10000
	Withdrawn bool   `query:"withdrawn"` // withdrawn records too
	Versions  bool   `query:"versions"`  // all versions of an object, not only the newest
}

type SourceRemoveQuery struct {
	Drop bool `query:"drop"` // forget its dead letters, too
}

type TemplateQuery struct {
	With string `query:"with" required:"true"` // an organisation, by name or id
}

type WatchQuery struct {
	From   uint64 `query:"from"`   // the cursor of the last record that was seen
	Follow *bool  `query:"follow"` // go on with what comes later; false: end where there are no more; nil: true
}

// AssessmentCodesRequest are what indicators of a list say of how far they can be relied on, as
// stix.ParseAssessment takes it.
type AssessmentCodesRequest struct {
	Reliability string   `json:"reliability,omitempty"`
	Credibility string   `json:"credibility,omitempty"`
	Evaluation  string   `json:"europol_evaluation,omitempty"`
	Handling    []string `json:"europol_handling,omitempty"`
	Text        string   `json:"europol_text,omitempty"`
}

// AboutEraseRequest erases what is held about a value.
type AboutEraseRequest struct {
	Value string `json:"value"`
	// only what the index finds
	Exact  bool   `json:"exact,omitempty"`
	Reason string `json:"reason"`
	DryRun bool   `json:"dry_run,omitempty"`
	// ask the recipients, originators and publishers as well
	Ask bool `json:"ask,omitempty"`
	// as ErasureAsk has it
	Due    string `json:"due,omitempty"`
	Onward bool   `json:"onward,omitempty"`
	Text   string `json:"text,omitempty"`
}

// ActDenyRequest says why an act is denied.
type ActDenyRequest struct {
	Reason string `json:"reason,omitempty"`
}

// AddSinkRequest says what is to be delivered where. Empty: kind's own format, batch and subject; the
// caller as reader; for a webhook a secret that is made here.
type AddSinkRequest struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	URL     string `json:"url"`
	View    string `json:"view,omitempty"`
	Reader  string `json:"reader,omitempty"`
	Format  string `json:"format,omitempty"`
	Batch   int    `json:"batch,omitempty"`
	Private bool   `json:"allow_private,omitempty"`
	Plain   bool   `json:"allow_plain,omitempty"`
	Roots   []byte `json:"roots,omitempty"`
	Stream  string `json:"stream,omitempty"`
	Subject string `json:"subject,omitempty"`
	Secret  []byte `json:"secret,omitempty"`
	// cursor to begin after
	From uint64 `json:"from,omitempty"`
	// one of the same name, which keeps its place
	Replace bool `json:"replace,omitempty"`
}

// AgreementImportRequest holds agreements as their parties signed them.
type AgreementImportRequest struct {
	Documents [][]byte `json:"documents"`
}

// AgreementRefRequest names an agreement that is known here by its id, or holds a draft.
type AgreementRefRequest struct {
	ID   string `json:"id,omitempty"`
	YAML string `json:"yaml,omitempty"`
}

// AnewRequest holds the card of an organisation that was founded anew. Of says in whose place, by name
// or id; empty: in that of this node's organisation.
type AnewRequest struct {
	Card []byte `json:"card"`
	Of   string `json:"of,omitempty"`
}

// AskRequest asks an organisation, by name or id.
type AskRequest struct {
	Org     string   `json:"organisation"`
	Purpose string   `json:"purpose,omitempty"`
	Text    string   `json:"text,omitempty"`
	Values  []string `json:"values,omitempty"`
}

// AuditCompareRequest holds a checkpoint of another node's log, as another cosigner has it.
type AuditCompareRequest struct {
	Checkpoint string `json:"checkpoint"`
}

// AuditEraseRequest says of which entries the details are to be erased.
type AuditEraseRequest struct {
	Entries []uint64 `json:"entries,omitempty"`
	// of all entries before: 2026-01-31, RFC 3339, 36h, 365d
	Before    string `json:"before,omitempty"`
	Authority string `json:"authority"`
	Reason    string `json:"reason,omitempty"`
}

// AuditVerifyRequest holds checkpoints that were kept elsewhere.
type AuditVerifyRequest struct {
	Since []string `json:"since,omitempty"`
}

// BackupRequest is what POST /v1/backup takes.
type BackupRequest struct {
	// age recipients, whose keys are kept off line
	Recipients   []string `json:"recipients"`
	WithoutOpKey bool     `json:"without_op_key,omitempty"`
}

// BackupVerifiedRequest says that a backup of this node was verified and is whole.
type BackupVerifiedRequest struct {
	// whose it is, as it states
	Node string `json:"node"`
	// when it was made, as it states
	Made time.Time `json:"made"`
}

// ConsumerOwnRequest says who answers for a consumer, a sink or a source.
type ConsumerOwnRequest struct {
	// one of the people
	Owner string `json:"owner"`
}

// ConsumerRequest says who may come over the network.
type ConsumerRequest struct {
	Name string `json:"name"`
	// somebody of the people file; absent: of the same name
	As     string   `json:"as,omitempty"`
	Scopes []string `json:"scopes"`
	Topics []string `json:"topics,omitempty"`
	// one of the people; absent: whoever it comes as, or who asks
	Owner   string    `json:"owner,omitempty"`
	Expires time.Time `json:"expires"`
}

// DeadPickRequest picks dead letters: by their ids, or all of a source, or all.
type DeadPickRequest struct {
	IDs    []string `json:"ids,omitempty"`
	Source string   `json:"source,omitempty"`
	All    bool     `json:"all,omitempty"`
}

// DiffRequest asks what After changes of Before; without that, of what After amends.
type DiffRequest struct {
	Before *AgreementRefRequest `json:"before,omitempty"`
	After  AgreementRefRequest  `json:"after"`
}

// DoctorRequest says what to look at.
type DoctorRequest struct {
	// names of checks, as they stand in findings; none: all
	Checks []string `json:"checks,omitempty"`
	// write nothing to the disk to measure it, and ask no peer
	Quick bool `json:"quick,omitempty"`
	// of a node that is down: multiaddresses that it is to listen on
	Listen []string `json:"listen,omitempty"`
}

// EnrolmentRequest is what a new node takes.
type EnrolmentRequest struct {
	Enrolment []byte `json:"enrolment"`
}

// EraseRequest names records that are to be erased in the whole mesh.
type EraseRequest struct {
	// of records, their beginnings, or STIX ids
	IDs    []string `json:"ids"`
	Reason string   `json:"reason"`
}

// ErasureAnswerRequest answers a request to erase.
type ErasureAnswerRequest struct {
	// what of it is held, but for Except
	Erase bool `json:"erase,omitempty"`
	// records that are kept, on the basis that Text names
	Except []string `json:"except,omitempty"`
	// refused if something is held
	NotHeld bool   `json:"not_held,omitempty"`
	Exports string `json:"exports"`
	Text    string `json:"text,omitempty"`
}

// ErasureAskRequest asks organisations to erase records.
type ErasureAskRequest struct {
	// of records; whole ids where they are not held any more
	IDs []string `json:"ids"`
	// none: who got them from here, their originators and publishers
	Orgs   []string `json:"organisations,omitempty"`
	Reason string   `json:"reason"`
	// 30d, a date, or RFC 3339
	Due    string `json:"due"`
	Onward bool   `json:"onward,omitempty"`
	Text   string `json:"text,omitempty"`
}

// ExcludeRequest takes own records back from organisations.
type ExcludeRequest struct {
	Records []string `json:"records"`
	Orgs    []string `json:"organisations"`
}

// FileBodyRequest is a file that is carried by hand: a mandate, or the proof of an origin.
type FileBodyRequest struct {
	File []byte `json:"file"`
}

// HoldAddRequest sets a legal hold of one of a record, a value and an organisation.
type HoldAddRequest struct {
	Record    string `json:"record,omitempty"`
	Value     string `json:"value,omitempty"`
	From      string `json:"from,omitempty"`
	Authority string `json:"authority"`
	Reason    string `json:"reason"`
	// 90d, a date, or RFC 3339
	Until string `json:"until,omitempty"`
}

// HoldReleaseRequest releases a legal hold.
type HoldReleaseRequest struct {
	Reason string `json:"reason"`
}

// KeyRotateAgeRequest asks for a new age identity.
type KeyRotateAgeRequest struct {
	// somebody else may have the present one
	Suspected bool `json:"suspected,omitempty"`
}

// MISPOrgRequest says which member of the mesh an organisation of MISP is.
type MISPOrgRequest struct {
	// id or name
	Org string `json:"org"`
}

// MISPTLPRequest sets the label of what an instance pushes without one; "": it is refused.
type MISPTLPRequest struct {
	TLP string `json:"tlp"`
}

// MandateRequest is what is to be signed for an agent.
type MandateRequest struct {
	Agent string `json:"agent"`
	// none: all
	Topics []string `json:"topics,omitempty"`
	// the ceiling; absent: none
	TLP string `json:"tlp,omitempty"`
	// absent: now
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until"`
}

// MatchRequest asks for indicators whose patterns compare something with one of the values.
type MatchRequest struct {
	Values []string `json:"values"`
}

// NetworkCreateRequest names a network that is to be.
type NetworkCreateRequest struct {
	Name string `json:"name"`
}

// NetworkInviteRequest is for whom an invitation is to be.
type NetworkInviteRequest struct {
	Card []byte `json:"card"`
	// how long it may be used; 0: 7 days
	Hours int `json:"hours,omitempty"`
}

// NetworkJoinRequest is an invitation that is to be used.
type NetworkJoinRequest struct {
	Invitation []byte `json:"invitation"`
}

// NetworkRemoveRequest names the member that is to be removed, and why.
type NetworkRemoveRequest struct {
	// by name or id
	Org    string `json:"organisation"`
	Reason string `json:"reason,omitempty"`
}

// NodeApproveRequest is the request of a new node, and the words that a person compared.
type NodeApproveRequest struct {
	Request []byte `json:"request"`
	Words   string `json:"words"`
}

// NodeNameRequest names a node of this organisation, by its id, the beginning of it, or its name.
type NodeNameRequest struct {
	Node string `json:"node"`
}

// NodeRemoveRequest says which node to remove.
type NodeRemoveRequest struct {
	Node string `json:"node"`
	// without waiting for what it may still have to say
	Now bool `json:"now,omitempty"`
	// Reason is stolen, lost or retired (the default). What is stolen or lost is not waited for.
	Reason string `json:"reason,omitempty"`
}

// PersonHandOverRequest says who is to answer for what somebody owns.
type PersonHandOverRequest struct {
	// one of the people
	To string `json:"to"`
}

// PersonSetRequest says who one of the people is to be.
type PersonSetRequest struct {
	// reader, publisher, approver, officer, admin; or of the people file of the rules
	Roles []string `json:"roles"`
	// they are all that the person has; else they are added
	Only bool `json:"only,omitempty"`
	// absent: stays; of somebody new, as the name
	User string `json:"os_user,omitempty"`
	// absent: stays
	FullName string `json:"full_name,omitempty"`
	// absent: stays
	Purpose string `json:"purpose,omitempty"`
}

// ProtectedRequest are names and networks that are never put out: this organisation's own.
type ProtectedRequest struct {
	Values []string `json:"values"`
}

// ReasonRequest says why something is done.
type ReasonRequest struct {
	Reason string `json:"reason,omitempty"`
}

// ReleaseModeRequest is what is done with records that may be passed on.
type ReleaseModeRequest struct {
	Mode string `json:"mode"`
	// in a request: look also at what came before
	All bool `json:"all,omitempty"`
}

// ReleaseVoteRequest is what a person says of a release.
type ReleaseVoteRequest struct {
	Person string `json:"person"`
	Reason string `json:"reason,omitempty"`
	// WithholdOrigin approves that they are published as this organisation's own, and not passed on.
	WithholdOrigin bool `json:"withhold_origin,omitempty"`
}

// RenewRequest asks for an agreement to be proposed again until a later end.
type RenewRequest struct {
	Until time.Time `json:"until"`
}

// ReplaySinkRequest says from where on a sink delivers.
type ReplaySinkRequest struct {
	From uint64 `json:"from"`
}

// ReplyRequest answers a request, or declines it.
type ReplyRequest struct {
	Decline bool     `json:"decline,omitempty"`
	Text    string   `json:"text,omitempty"`
	Records []string `json:"records,omitempty"`
}

// RequireTwoRequest says whether an act needs a second person.
type RequireTwoRequest struct {
	// agreement-sign, key-change, release, people
	Act string `json:"act"`
	Two bool   `json:"two"`
	// of the second person; absent: stays, or as is usual for the act
	Role string `json:"role,omitempty"`
}

// RulesConfirmRequest names the set of rules that is to be confirmed.
type RulesConfirmRequest struct {
	Set string `json:"set"`
}

// RulesRequest holds rules, and the people that they are about. Without people, those in force stay.
type RulesRequest struct {
	// names of files are for messages
	File       string  `json:"file,omitempty"`
	Text       string  `json:"text,omitempty"`
	PeopleFile string  `json:"people_file,omitempty"`
	People     *string `json:"people,omitempty"`
	// of the organisation, where the operational key is
	AllNodes bool `json:"all_nodes,omitempty"`
}

// SimulateRequest asks what would be if an agreement were signed, by the records since a time.
type SimulateRequest struct {
	Agreement AgreementRefRequest `json:"agreement"`
	// as searches take it; without it, everything
	Since string `json:"since,omitempty"`
}

// SourceAddRequest is a source to add.
type SourceAddRequest struct {
	Name string `json:"name"`
	// folder, url, taxii or misp
	Kind string `json:"kind"`
	// a folder's whole path, or a URL
	Where string `json:"where"`
	// of a TAXII server
	Collection string `json:"collection,omitempty"`
	// absent: every hour, a folder every minute
	Schedule string                `json:"schedule,omitempty"`
	Topic    string                `json:"topic"`
	Handling SourceHandlingRequest `json:"handling"`
	Format   string                `json:"format,omitempty"`
	// CSV: value, country, tlp
	Labels     string                 `json:"labels,omitempty"`
	Assessment AssessmentCodesRequest `json:"assessment,omitzero"`
	// as whom it publishes; absent: as itself
	Principal       string `json:"principal,omitempty"`
	MaxRecords      uint32 `json:"max_records,omitempty"`
	MaxBytes        uint64 `json:"max_bytes,omitempty"`
	Private         bool   `json:"private_addresses,omitempty"`
	WithdrawMissing bool   `json:"withdraw_missing,omitempty"`
	MoveDone        bool   `json:"move_done,omitempty"`
	Paused          bool   `json:"paused,omitempty"`
	User            string `json:"user,omitempty"`
	Password        string `json:"password,omitempty"`
	Token           string `json:"token,omitempty"`
	// PEM
	CA string `json:"ca,omitempty"`
	// one of the same name, which keeps what it gave; all settings are given anew
	Replace bool `json:"replace,omitempty"`
}

// SourceHandlingRequest is the default handling of a source, in the words of 'publish'.
type SourceHandlingRequest struct {
	TLP       string   `json:"tlp,omitempty"`
	PAP       string   `json:"pap,omitempty"`
	Personal  string   `json:"personal,omitempty"`
	Country   []string `json:"country,omitempty"`
	Purpose   []string `json:"purpose,omitempty"`
	Retention int      `json:"retention_days,omitempty"`
	To        []string `json:"to,omitempty"`
	Exclude   []string `json:"exclude,omitempty"`
	Onward    []string `json:"onward,omitempty"`
	OnwardTLP string   `json:"onward_tlp,omitempty"`
	Origin    string   `json:"origin,omitempty"`
}

// SourceRunRequest asks to run a source.
type SourceRunRequest struct {
	// withdraw what is gone, even if it is more than half
	AcceptMissing bool `json:"accept_missing,omitempty"`
}

// TellRequest names what is in quarantine, for its publisher to be told.
type TellRequest struct {
	ID string `json:"id"`
}

// TerminationRequest says why an agreement is terminated, and when.
type TerminationRequest struct {
	Reason string `json:"reason,omitempty"`
	// with notice: when it counts; absent: at once
	On *time.Time `json:"on,omitempty"`
}

// TrustRequest is a card, and the words that a person compared.
type TrustRequest struct {
	Card  []byte `json:"card"`
	Words string `json:"words"`
}

// UntrustRequest names an organisation, by name or id.
type UntrustRequest struct {
	Org string `json:"organisation"`
}

// ViewRequest is a view as it is set.
type ViewRequest struct {
	Title  string   `json:"title,omitempty"`
	Topics []string `json:"topics,omitempty"`
	Types  []string `json:"types,omitempty"`
	Kinds  []string `json:"kinds,omitempty"`
	// ids or names
	Originators   []string `json:"originators,omitempty"`
	Countries     []string `json:"countries,omitempty"`
	Labels        []string `json:"labels,omitempty"`
	MaxTLP        string   `json:"max_tlp,omitempty"`
	MinConfidence byte     `json:"min_confidence,omitempty"`
}

// WhatIfRequest asks who might have a record, at a time and under a planned agreement.
type WhatIfRequest struct {
	// only what concerns it
	Org string `json:"organisation,omitempty"`
	// without it, now
	At   *time.Time           `json:"at,omitempty"`
	With *AgreementRefRequest `json:"with,omitempty"`
}

// WithdrawRequest names records that are to be withdrawn, and why.
type WithdrawRequest struct {
	// of records, their beginnings, or STIX ids
	IDs    []string `json:"ids"`
	Reason string   `json:"reason,omitempty"`
}

// About is what is held about a value. What its reader may not read is not in it.
type About struct {
	Value string    `json:"value"`
	At    time.Time `json:"at"`
	// records whose texts were gone through; 0: none, the index alone was asked
	Scanned uint64        `json:"scanned"`
	Records []AboutRecord `json:"records"`
	// there are more records than are listed
	More bool `json:"more"`
	// erased, and under a legal hold
	Kept       []KeptRecord       `json:"kept"`
	Releases   []ReleaseItem      `json:"releases"`
	Quarantine []AboutQuarantined `json:"quarantine"`
	Holds      []HoldInfo         `json:"holds"`
	// of both directions
	Asks []ErasureAsk `json:"erasure_requests"`
	// of partners, and to them, that say the value, or whose replies do
	Requests []RequestInfo `json:"requests"`
	// that may hold one of the records
	Handouts []BeyondRow `json:"handouts"`
	// of sources
	Dead []DeadLetter `json:"dead_letters"`
	// entries that name a record, its envelope, or the value
	Audit []AboutAudit `json:"audit"`
	// entries beyond those that are listed
	AuditMore int         `json:"audit_more"`
	Closed    AboutClosed `json:"not_looked_into"`
}

// AboutAudit is an entry of an audit log.
type AboutAudit struct {
	Log    string    `json:"log"`
	Number uint64    `json:"number"`
	Kind   string    `json:"kind"`
	At     time.Time `json:"at"`
	Act    string    `json:"act"`
	Person string    `json:"person,omitempty"`
	// record, envelope or value: by what it was found
	Names string `json:"names"`
}

// AboutClosed counts what could not be looked into.
type AboutClosed struct {
	// envelopes that nobody here can open
	ForOthers uint64 `json:"sealed_for_others"`
	// envelopes that may open later
	AwaitingKey uint64 `json:"awaiting_key"`
	// envelopes whose bodies are not held
	AwaitingBody uint64 `json:"awaiting_body"`
	// envelopes that were not gone through yet
	Pending uint64 `json:"pending"`
	// envelopes that were set aside and do not open
	Quarantined uint64 `json:"quarantined"`
	// audit entries whose details were erased
	AuditErased uint64 `json:"audit_erased"`
}

// AboutQuarantined is a record that was set aside, as far as it opens.
type AboutQuarantined struct {
	// of the quarantine: feed/seq/index
	ID        string    `json:"id"`
	Publisher OrgRef    `json:"publisher"`
	Topic     string    `json:"topic"`
	Record    string    `json:"record,omitempty"`
	StixID    string    `json:"stix_id,omitempty"`
	Type      string    `json:"type,omitempty"`
	Reason    string    `json:"reason"`
	Text      string    `json:"text"`
	At        time.Time `json:"at"`
	Match     string    `json:"match"`
}

// AboutRecipient is an organisation for which a record was sealed here.
type AboutRecipient struct {
	Org    OrgRef    `json:"organisation"`
	Sealed time.Time `json:"sealed"`
	// a node of it signed that it holds the envelope; by its clock
	Held *time.Time `json:"held,omitempty"`
	// and that it opened it
	Opened *time.Time `json:"opened,omitempty"`
}

// AboutRecord is a record that mentions the value.
type AboutRecord struct {
	ID         string       `json:"id"`
	StixID     string       `json:"stix_id"`
	Type       string       `json:"type"`
	Topic      string       `json:"topic"`
	Originator OrgRef       `json:"originator"`
	Publisher  OrgRef       `json:"publisher"`
	Handling   HandlingView `json:"handling"`
	Modified   *time.Time   `json:"modified,omitempty"`
	Received   time.Time    `json:"received"`
	// when it came here, in microseconds: rises with the cursor, whatever the clock does
	Added          time.Time `json:"added,omitzero"`
	Cursor         uint64    `json:"cursor"`
	Withdrawn      bool      `json:"withdrawn,omitempty"`
	WithdrawReason string    `json:"withdraw_reason,omitempty"`
	Feed           string    `json:"feed"`
	Seq            uint64    `json:"seq"`
	// its originator published it for another, which did not sign it
	OnBehalf *BehalfView `json:"on_behalf_of,omitempty"`
	// its originator had it of another, which it does not name
	Withheld bool `json:"origin_withheld,omitempty"`
	// what the object says of how far it can be relied on
	Assessment *Assessment     `json:"assessment,omitempty"`
	Object     json.RawMessage `json:"object"`
	// exact: found by the index; text: in one of its texts
	Match    string `json:"match"`
	Personal string `json:"personal_data_found,omitempty"`
	// this organisation published it
	Own  bool  `json:"own"`
	Path []Hop `json:"way"`
	// by which agreement and term it is here; none: it is own
	Why *NodeVerdict `json:"why,omitempty"`
	// when it is erased by itself; null: never
	Ends *time.Time `json:"retained_until"`
	// for whom it was sealed here
	Recipients []AboutRecipient `json:"recipients"`
	// legal holds
	Holds []string `json:"held_by,omitempty"`
	// requests to erase that name it
	Asked []string `json:"asked_erase,omitempty"`
}

// AskCounts counts requests to erase.
type AskCounts struct {
	// to this organisation, not answered to the end
	Waiting int `json:"waiting"`
	// of them: past the day they are due
	Late int `json:"late"`
	// by this organisation, not answered to the end
	Asked int `json:"asked"`
	// of them: past the day they are due
	Overdue int `json:"overdue"`
}

// AskTo counts the records that an organisation is asked about.
type AskTo struct {
	Org     OrgRef `json:"organisation"`
	Records int    `json:"records"`
}

// AssessmentCodes are what indicators of a list say of how far they can be relied on, as
// stix.ParseAssessment takes it.
type AssessmentCodes struct {
	Reliability string   `json:"reliability,omitempty"`
	Credibility string   `json:"credibility,omitempty"`
	Evaluation  string   `json:"europol_evaluation,omitempty"`
	Handling    []string `json:"europol_handling,omitempty"`
	Text        string   `json:"europol_text,omitempty"`
}

// AuditCheck says what a verification of a log found.
type AuditCheck struct {
	Log string `json:"log"`
	// for verifiers of notes
	Key     string   `json:"key"`
	Entries uint64   `json:"entries"`
	Root    [32]byte `json:"root"`
	// that it was held against
	Checkpoints int `json:"checkpoints"`
	// entries whose details are held, and are those committed to
	Details uint64 `json:"details"`
	// entries whose details were erased, as a later entry says
	Erased  uint64 `json:"erased"`
	Without uint64 `json:"without,omitempty"`
	// Index is what was wrong with the index of the log, which is no part of the account and was made
	// anew; "": nothing.
	Index    string   `json:"index,omitempty"`
	Problems []string `json:"problems"`
	More     int      `json:"more_problems,omitempty"`
	Whole    bool     `json:"whole"`
	// Cosigners are nodes of partners that signed to have seen the log grow, and how far.
	Cosigners []AuditCosigner `json:"cosigners"`
}

// AuditCosigner is how far a node of another organisation has cosigned a log.
type AuditCosigner struct {
	Org     OrgRef `json:"organisation"`
	Node    string `json:"node"`
	Entries uint64 `json:"entries"`
	// by the clock of that node
	At time.Time `json:"at"`
}

// AuditEntry is an entry of an audit log as it is shown.
type AuditEntry struct {
	Log    string `json:"log"`
	Number uint64 `json:"number"`
	Kind   string `json:"kind"`
	// as the leaf says
	Day        string     `json:"day"`
	At         *time.Time `json:"at,omitempty"`
	Act        string     `json:"act,omitempty"`
	Person     string     `json:"person,omitempty"`
	Purpose    string     `json:"purpose,omitempty"`
	By         *OrgRef    `json:"by,omitempty"`
	Orgs       []OrgRef   `json:"organisations,omitempty"`
	Agreements []string   `json:"agreements,omitempty"`
	Topic      string     `json:"topic,omitempty"`
	Reason     string     `json:"reason,omitempty"`
	Text       string     `json:"text,omitempty"`
	// of the objects that a decision is about
	Type     string         `json:"type,omitempty"`
	Handling *HandlingView  `json:"handling,omitempty"`
	Allowed  []string       `json:"allowed,omitempty"`
	Refused  []AuditRefusal `json:"refused,omitempty"`
	// entries that say for whom the records are
	Decisions []uint64 `json:"decisions,omitempty"`
	Records   uint64   `json:"records,omitempty"`
	IDs       []string `json:"ids,omitempty"`
	// that it is about
	Entries []uint64 `json:"entries,omitempty"`
	// the entry that says that the details were erased
	Erased *uint64 `json:"erased,omitempty"`
}

// AuditErased says what was erased.
type AuditErased struct {
	Log    string `json:"log"`
	Erased int    `json:"erased"`
	// the entries that say so
	Entries []uint64 `json:"said_in"`
}

// AuditProof is the proof that an entry stands in the log.
type AuditProof struct {
	Log string `json:"log"`
	Key string `json:"key"`
	// base64 in JSON
	Leaf []byte `json:"leaf"`
	// C2SP tlog-proof
	Proof string `json:"proof"`
}

// AuditRefusal is for whom records are not, and why.
type AuditRefusal struct {
	Org    string `json:"organisation"`
	Reason string `json:"reason"`
}

// BehalfView says on whose behalf a record was published.
type BehalfView struct {
	Principal OrgRef `json:"principal"`
	Mandate   string `json:"mandate"`
}

// BeyondRow is a copy that an erasure did not reach.
type BeyondRow struct {
	What string `json:"what"`
	Do   string `json:"do"`
}

// Carried says what a carried file holds, and from whom and for whom it is.
type Carried struct {
	// "pack" or "request"
	Kind    string `json:"kind"`
	Network string `json:"network"`
	From    OrgRef `json:"from"`
	// Known reports that the file is signed by a node of a member, as cards here say. The first file of a
	// newcomer is not: its card is in it.
	Known bool      `json:"from_known"`
	To    OrgRef    `json:"to"`
	Made  time.Time `json:"made"`
	// when the request was made that it answers
	Answers *time.Time `json:"answers,omitempty"`
	// empty: all that the sender is in
	Topics     []string `json:"topics"`
	Cards      int      `json:"cards"`
	Statements int      `json:"statements"`
	// what nodes of one organisation hold in common, and give nobody else
	Siblings int `json:"sibling_items,omitempty"`
	// request: cards and statements that its sender has
	Hashes    int    `json:"hashes,omitempty"`
	Envelopes uint64 `json:"envelopes"`
	// of the file's contents, as far as they were read
	Bytes uint64        `json:"bytes"`
	Feeds []CarriedFeed `json:"feeds"`
	// Refused says what of the file was not taken, or, where it was only inspected, what does not verify.
	Refused []CarryRefusal `json:"refused"`
	// Whole reports that the file came to its end and is what it was when it was packed; otherwise Problem
	// says why not. What came before that point is good.
	Whole   bool   `json:"whole"`
	Problem string `json:"problem,omitempty"`
}

// CarriedFeed is a feed in a carried file.
type CarriedFeed struct {
	Org   OrgRef `json:"organisation"`
	Topic string `json:"topic"`
	Feed  string `json:"feed"`
	// first and last seq in the file; 0: none
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
	// seq up to which the sender had it
	Head uint64 `json:"head"`
	// seq up to which it is held here
	Here      uint64 `json:"here"`
	Envelopes uint64 `json:"envelopes"`
	Bytes     uint64 `json:"bytes"`
}

// CarryApplied says what applying a carried file did.
type CarryApplied struct {
	// "pack" or "request"
	Kind    string `json:"kind"`
	Network string `json:"network"`
	From    OrgRef `json:"from"`
	// Known reports that the file is signed by a node of a member, as cards here say. The first file of a
	// newcomer is not: its card is in it.
	Known bool      `json:"from_known"`
	To    OrgRef    `json:"to"`
	Made  time.Time `json:"made"`
	// when the request was made that it answers
	Answers *time.Time `json:"answers,omitempty"`
	// empty: all that the sender is in
	Topics     []string `json:"topics"`
	Cards      int      `json:"cards"`
	Statements int      `json:"statements"`
	// what nodes of one organisation hold in common, and give nobody else
	Siblings int `json:"sibling_items,omitempty"`
	// request: cards and statements that its sender has
	Hashes    int    `json:"hashes,omitempty"`
	Envelopes uint64 `json:"envelopes"`
	// of the file's contents, as far as they were read
	Bytes uint64        `json:"bytes"`
	Feeds []CarriedFeed `json:"feeds"`
	// Refused says what of the file was not taken, or, where it was only inspected, what does not verify.
	Refused []CarryRefusal `json:"refused"`
	// Whole reports that the file came to its end and is what it was when it was packed; otherwise Problem
	// says why not. What came before that point is good.
	Whole   bool   `json:"whole"`
	Problem string `json:"problem,omitempty"`
	// what was not held before
	New CarryCounts `json:"new"`
	// already
	Held CarryCounts `json:"held"`
	// readable here now that were not
	Records uint64         `json:"records"`
	LeftOut []CarryLeftOut `json:"left_out"`
	Missing []CarryMissing `json:"missing"`
}

// CarryCounts counts things.
type CarryCounts struct {
	Cards      int `json:"cards"`
	Statements int `json:"statements"`
	Envelopes  int `json:"envelopes"`
}

// CarryLeftOut counts the envelopes of a topic that this node is not in.
type CarryLeftOut struct {
	Topic     string `json:"topic"`
	Envelopes int    `json:"envelopes"`
}

// CarryMissing is a range of entries that the sender had and that is not held here.
type CarryMissing struct {
	Org   OrgRef `json:"organisation"`
	Topic string `json:"topic"`
	Feed  string `json:"feed"`
	From  uint64 `json:"from"`
	To    uint64 `json:"to"`
	// Behind counts the entries of this file that come after the range and could not be taken because of
	// it: what brings the range first makes this file good.
	Behind uint64 `json:"behind"`
}

// CarryRefusal counts what was refused for one reason.
type CarryRefusal struct {
	// "card", "statement" or "envelope"
	What   string `json:"what"`
	Class  string `json:"class"`
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// NodeChange is something that happened to a record that this organisation may read. Cursors rise, are
// never given twice, and stay good for ever: across restarts, and in a backup.
type NodeChange struct {
	Cursor uint64 `json:"cursor"`
	Kind   string `json:"kind"`
	// in microseconds; rises with Cursor, whatever the clock does
	At time.Time `json:"at"`
	ID string    `json:"id"`
	// as it stands now; nil if it was erased or is gone
	Record *Record `json:"record,omitempty"`
}

// Consumer is a machine or a person of this organisation that comes over the network, by a token.
type Consumer struct {
	// also the user of HTTP Basic
	Name string `json:"name"`
	// as whom local rules see it: one of the people, or a person or a machine of the people file
	As string `json:"as"`
	// Owner is who answers for it: it may do no more than they may, and ends when they leave. "" where it
	// was added before the node had people.
	Owner  string   `json:"owner,omitempty"`
	Scopes []string `json:"scopes"`
	// in which it may publish; the first is where it does if nothing says otherwise; none: in any
	Topics  []string  `json:"topics,omitempty"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// Unconfirmed is one that came from a backup, and may have been removed since: it may not come until
	// somebody confirms it.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
}

// CosignedLog is the audit log of another node as it was last cosigned here.
type CosignedLog struct {
	Org        OrgRef    `json:"organisation"`
	Node       string    `json:"node"`
	Log        string    `json:"log"`
	Entries    uint64    `json:"entries"`
	At         time.Time `json:"at"`
	Checkpoint string    `json:"checkpoint"`
	// Against is a checkpoint of that node that does not continue the other; "": there is none.
	Against string `json:"against,omitempty"`
	// Forked says that the two prove by themselves that there are two accounts.
	Forked bool `json:"forked"`
}

// DeadLetter is a dead letter as it is shown.
type DeadLetter struct {
	ID     string    `json:"id"`
	Source string    `json:"source"`
	First  time.Time `json:"first"`
	At     time.Time `json:"at"`
	Times  uint32    `json:"times"`
	Where  string    `json:"where"`
	Line   int       `json:"line,omitempty"`
	// objects or entries that it is about
	Count  int    `json:"count"`
	Reason string `json:"reason"`
	Do     string `json:"do"`
	// bytes that are kept; 0: none, it cannot be tried again from here
	Size int        `json:"size"`
	Gone *time.Time `json:"gone,omitempty"`
	// legal holds
	Held []string `json:"held_by,omitempty"`
	// what is kept, of one that is asked for by name
	Text string `json:"text,omitempty"`
	// of what was looked for
	Match string `json:"match,omitempty"`
}

// Delivery says where a copy of an own record is, by the signed word of the node that has it.
type Delivery struct {
	Org  OrgRef `json:"organisation"`
	Node string `json:"node"`
	// the envelope, sealed
	Held bool `json:"held"`
	// and read
	Opened bool `json:"opened"`
	// by the clock of that node
	At time.Time `json:"at"`
}

// DiskStatus says how much room is taken.
type DiskStatus struct {
	// bytes of the data directory
	Used int64 `json:"used"`
	// bytes; 0: none
	Limit int64 `json:"limit,omitempty"`
	// Free is how many bytes the file system of the data directory has left, or that of the anchor, if
	// that is less; nil: not known.
	Free *uint64 `json:"free,omitempty"`
	Full bool    `json:"full,omitempty"`
	// entries refused because of quotas since the start
	OverQuota uint64 `json:"over_quota,omitempty"`
	// bodies of others, for others, that two more nodes hold
	Evicted uint64 `json:"evicted,omitempty"`
}

// DoctorReport is what the doctor found.
type DoctorReport struct {
	At time.Time `json:"at"`
	// the node was on the network
	Online   bool            `json:"online"`
	Findings []DoctorFinding `json:"findings"`
}

// EraseReport says what an erasure reached, and what it cannot reach.
type EraseReport struct {
	// records of which nothing is left here
	Erased int `json:"erased"`
	// records that shared their envelopes, and stand in new ones now
	Resealed int `json:"resealed"`
	// envelopes whose bodies were destroyed
	Entries int `json:"entries"`
	// statements that tell every other node to do the same
	Signed int `json:"signed"`
	// records of others, erased for this organisation only
	Local int `json:"local"`
	// records that another node of this organisation published, and erases for everybody
	Siblings int `json:"siblings"`
	// organisations for which the records were sealed
	Told []OrgRef `json:"told"`
	// copies that this could not reach
	Beyond []BeyondRow `json:"beyond"`
	// records of which a copy is kept under a legal hold
	Held int `json:"held"`
}

// ErasedAbout says what an erasure by value does, or would do.
type ErasedAbout struct {
	Value   string        `json:"value"`
	DryRun  bool          `json:"dry_run"`
	Records []AboutRecord `json:"records"`
	// there are more: erase again
	More bool `json:"more"`
	// records of which every copy in the mesh goes
	Others int `json:"everywhere"`
	// records of others, that go here only
	Here int `json:"here"`
	// records of which a copy is kept under a legal hold
	Held int `json:"held"`
	// records set aside that mention it: the envelopes of others that hold them go here
	Set int `json:"set_aside"`
	// for information that say it: their words and values go here
	Requests int          `json:"requests"`
	Dead     int          `json:"dead_letters"`
	WouldAsk []AskTo      `json:"would_ask,omitempty"`
	Asked    []ErasureAsk `json:"asked,omitempty"`
	Report   *EraseReport `json:"report,omitempty"`
}

// ErasureAnswer is the answer to a request.
type ErasureAnswer struct {
	// by the clock of who answered
	At     time.Time `json:"at"`
	Number uint64    `json:"number"`
	// open, none, erased, remain
	Exports string `json:"exports"`
	Text    string `json:"text,omitempty"`
	// whom it asked in its turn
	Asked   []OrgRef        `json:"asked"`
	Results []ErasureResult `json:"results"`
	Summary string          `json:"summary"`
}

// ErasureAsk is a request to erase as it is shown.
type ErasureAsk struct {
	ID   string `json:"id"`
	From OrgRef `json:"from"`
	To   OrgRef `json:"to"`
	// by the asker's clock
	At     time.Time `json:"at"`
	Due    time.Time `json:"due"`
	Reason string    `json:"reason"`
	Text   string    `json:"text,omitempty"`
	Onward bool      `json:"onward"`
	// waiting, exports open, answered
	State   string   `json:"state"`
	Overdue bool     `json:"overdue"`
	Records []string `json:"records"`
	// the request that this one passes on
	Parent string         `json:"passes_on,omitempty"`
	Answer *ErasureAnswer `json:"answer,omitempty"`
	// Of a request to this organisation: how many of the records are shown here or were set aside, and
	// what left this node and may hold one of them.
	Held     int         `json:"held,omitempty"`
	Handouts []BeyondRow `json:"handouts,omitempty"`
}

// ErasureResult is what became of one record.
type ErasureResult struct {
	Record  string `json:"record"`
	Outcome string `json:"outcome"`
}

// ExclusionAt is what an organisation that was told made of it: it signed to have opened it, or it did
// not, and since a day ago that is overdue.
type ExclusionAt struct {
	Org     OrgRef     `json:"organisation"`
	Opened  *time.Time `json:"acknowledged,omitempty"`
	Overdue bool       `json:"overdue,omitempty"`
}

// ExclusionHop is what an organisation that heard of an exclusion from another one made of it.
type ExclusionHop struct {
	By      OrgRef     `json:"told_by"`
	Org     OrgRef     `json:"organisation"`
	Opened  *time.Time `json:"acknowledged,omitempty"`
	Overdue bool       `json:"overdue,omitempty"`
}

// ExclusionInfo is an exclusion, with who acknowledged it.
type ExclusionInfo struct {
	Originator OrgRef    `json:"originator"`
	At         time.Time `json:"at"`
	Records    []string  `json:"records"`
	Excluded   []OrgRef  `json:"excluded"`
	// those whom this organisation told
	Told []ExclusionAt `json:"told"`
	// those whom they told, and so on
	Further []ExclusionHop `json:"told_further"`
}

// Expiry is something that ends.
type Expiry struct {
	// one of the Expiry words
	What string    `json:"what"`
	Who  string    `json:"who"`
	At   time.Time `json:"at"`
	// this node renews it by itself, as things stand
	Renews bool `json:"renews"`
}

// NodeExplanation accounts for one record. Of own records it names all readers and all who were
// refused; of received ones why we may read it and to whom we may pass it on, and never its other
// recipients, which are nobody's business but the publisher's.
type NodeExplanation struct {
	Record   Record     `json:"record"`
	Own      bool       `json:"own"`
	SealedAt *time.Time `json:"sealed_at,omitempty"`
	// own records
	Readers []NodeVerdict `json:"readers,omitempty"`
	// own records
	Refused []NodeVerdict `json:"refused,omitempty"`
	// received records: why we may read it
	Why *NodeVerdict `json:"why,omitempty"`
	// received records: to whom we may pass it on
	PassOn []NodeVerdict `json:"pass_on,omitempty"`
	// received records: to whom not, and why
	DoNotPass []NodeVerdict `json:"not_pass_on,omitempty"`
	// received records: for whom it was sealed here
	PassedTo []OrgRef `json:"passed_to,omitempty"`
	Path     []Hop    `json:"provenance"`
	// who may store it, sealed, whether they read it or not
	Holders Holders `json:"holders"`
	// own records: who has signed to hold it, and to have opened it
	Delivered []Delivery `json:"delivered,omitempty"`
}

// FeedStatus is what is held of one feed, and what is known of it.
type FeedStatus struct {
	Feed  string `json:"feed"`
	Org   OrgRef `json:"organisation"`
	Node  string `json:"node"`
	Topic string `json:"topic"`
	Own   bool   `json:"own,omitempty"`
	// of a direct feed: who may hold it; none: every member
	Roster []OrgRef `json:"roster,omitempty"`
	// entries, one after the other
	Held uint64 `json:"held"`
	// entries that there are, by its author's word or by an entry seen
	Head uint64 `json:"head"`
	// entries and bodies that are not held and were not erased
	Missing uint64 `json:"missing"`
	// of them: entries held without their bodies
	Bodies uint64 `json:"missing_bodies"`
	// hash of the last entry held: equal on two nodes that hold the same
	Digest [32]byte `json:"digest"`
	// nothing is missing of what its author says that there is
	Complete bool       `json:"complete"`
	Since    *time.Time `json:"missing_since,omitempty"`
	// connected peers that say that they have what is missing
	HeldBy []OrgRef `json:"held_by,omitempty"`
	// when its author's last signed head came
	Stated *time.Time `json:"stated,omitempty"`
	// its author did not state its head when it said that it would
	Silent bool `json:"silent,omitempty"`
	// its author appends nothing more
	Closed bool `json:"closed,omitempty"`
	// its organisation removed the node; its card says where the feed ends
	Removed bool   `json:"removed,omitempty"`
	Forked  uint64 `json:"forked_at,omitempty"`
	// no signed head of it was ever seen: whether more exists is not known
	Unknown  bool `json:"unverified,omitempty"`
	Awaiting int  `json:"awaiting_key"`
	// entries for which a card, an agreement or their time is missing
	Unjudged int `json:"unjudged,omitempty"`
	// why its publisher withholds keys
	Withheld string `json:"withheld,omitempty"`
}

// GossipStatus counts what gossip did since the start.
type GossipStatus struct {
	Rejected uint64 `json:"rejected"`
	Ignored  uint64 `json:"ignored"`
	Dropped  uint64 `json:"dropped"`
	// of a later version than this program reads
	Later uint64 `json:"later,omitempty"`
}

// HandedOver says what was handed over.
type HandedOver struct {
	From      string   `json:"from"`
	To        string   `json:"to"`
	Consumers []string `json:"consumers"`
	SetUp     []Owned  `json:"set_up"`
	// Elsewhere are the organisation's other nodes: what is theirs there is not handed over.
	Elsewhere []string `json:"elsewhere"`
}

// HandlingView is a handling in words.
type HandlingView struct {
	TLP           string   `json:"tlp"`
	PAP           string   `json:"pap,omitempty"`
	Countries     []string `json:"countries,omitempty"`
	PersonalData  string   `json:"personal_data"`
	Purposes      []string `json:"purposes,omitempty"`
	RetentionDays uint32   `json:"retention_days,omitempty"`
	Onward        string   `json:"onward"`
	Excluded      []OrgRef `json:"excluded,omitempty"`
	// how many may receive it by name; who they are is theirs
	Named int `json:"named,omitempty"`
}

// Handout is something that left this node.
type Handout struct {
	ID uint64 `json:"id"`
	// export, watch, stream, sink, list, taxii, misp, carried file, backup
	Kind string `json:"kind"`
	// its format, or for whom it was
	Detail string    `json:"detail"`
	At     time.Time `json:"at"`
	// when it was gone on with, of those that are: stream, list, taxii, misp
	Last time.Time `json:"last,omitzero"`
	// not of sealed ones; of lists values; all that were given, the same ones again too
	Records uint64 `json:"records,omitempty"`
	// it is being taken now
	Open bool `json:"open,omitempty"`
}

// HoldInfo is a legal hold as it is shown.
type HoldInfo struct {
	ID        string     `json:"id"`
	Record    string     `json:"record,omitempty"`
	Value     string     `json:"value,omitempty"`
	From      *OrgRef    `json:"from,omitempty"`
	Authority string     `json:"authority"`
	Reason    string     `json:"reason"`
	Person    string     `json:"person,omitempty"`
	At        time.Time  `json:"at"`
	Until     *time.Time `json:"until,omitempty"`
	// stands, released, over
	State     string     `json:"state"`
	Ended     *time.Time `json:"ended,omitempty"`
	EndPerson string     `json:"released_by,omitempty"`
	EndReason string     `json:"release_reason,omitempty"`
	// records that would have been erased
	Kept int `json:"kept"`
}

// Holders says who may store a record, even if they cannot read it.
type Holders struct {
	// of the network, and whoever becomes one
	EveryMember bool `json:"every_member"`
	// where not: those on the rosters of its feeds
	Orgs []OrgRef `json:"organisations,omitempty"`
	// a node of which signed to hold it
	Signed []OrgRef `json:"signed,omitempty"`
}

// Hop is one step on a record's way here.
type Hop struct {
	Org  OrgRef `json:"organisation"`
	Role string `json:"role"`
	Feed string `json:"feed,omitempty"`
	Seq  uint64 `json:"seq,omitempty"`
}

// IdentityInfo is an age identity of this node as it is shown.
type IdentityInfo struct {
	// its name: the SHA-256 of the recipient, cut
	Recipient string `json:"recipient"`
	// "on the card", "not on the card yet" or "replaced"
	State string `json:"state"`
	// not known of a node made before identities turned over
	Made *time.Time `json:"made,omitempty"`
	// of the one on the card: when it is replaced; of one that was: when it is destroyed, if all letters
	// came
	Until *time.Time `json:"until,omitempty"`
}

// KeptRecord is a record that would have been erased, and is under a legal hold.
type KeptRecord struct {
	ID         string       `json:"id"`
	StixID     string       `json:"stix_id"`
	Type       string       `json:"type"`
	Topic      string       `json:"topic"`
	Originator OrgRef       `json:"originator"`
	Publisher  OrgRef       `json:"publisher"`
	Handling   HandlingView `json:"handling"`
	Modified   *time.Time   `json:"modified,omitempty"`
	Received   time.Time    `json:"received"`
	// when it came here, in microseconds: rises with the cursor, whatever the clock does
	Added          time.Time `json:"added,omitzero"`
	Cursor         uint64    `json:"cursor"`
	Withdrawn      bool      `json:"withdrawn,omitempty"`
	WithdrawReason string    `json:"withdraw_reason,omitempty"`
	Feed           string    `json:"feed"`
	Seq            uint64    `json:"seq"`
	// its originator published it for another, which did not sign it
	OnBehalf *BehalfView `json:"on_behalf_of,omitempty"`
	// its originator had it of another, which it does not name
	Withheld bool `json:"origin_withheld,omitempty"`
	// what the object says of how far it can be relied on
	Assessment *Assessment     `json:"assessment,omitempty"`
	Object     json.RawMessage `json:"object"`
	Erased     time.Time       `json:"would_have_been_erased"`
	Why        string          `json:"erased_because"`
	// who passed it on, as far as it was known when it was kept
	Path []OrgRef `json:"path"`
	Held []string `json:"held_by"`
	// the two in a sentence
	Hold string `json:"notice"`
}

// KeyList is the keys of an organisation as its card states them, and those of this node. It shows
// public keys only.
type KeyList struct {
	Org  string   `json:"organisation"`
	Root RootInfo `json:"root"`
	Op   OpInfo   `json:"operational"`
	Node NodeKeys `json:"node"`
	// Retired are operational keys that ended, the last one first.
	Retired []RetiredInfo `json:"retired"`
	// where the operational key is kept in one
	Token      *TokenInfo     `json:"token,omitempty"`
	Identities []IdentityInfo `json:"age_identities"`
	Expiries   []Expiry       `json:"expiries"`
}

// MISPOrg is an organisation of MISP that is a member of the mesh.
type MISPOrg struct {
	UUID string `json:"uuid"`
	Org  OrgRef `json:"org"`
}

// MISPSettings are what a person says of MISP: which members of the mesh its organisations are, for
// sharing groups, and under which label what an instance pushes without one is published.
type MISPSettings struct {
	Orgs []MISPOrg `json:"orgs"`
	// of what is pushed and states none; unset: it is refused
	TLP byte `json:"tlp,omitempty"`
}

// MandateInfo is a mandate as it is shown.
type MandateInfo struct {
	ID string `json:"id"`
	// in force, not yet, ended, revoked, void
	State     string `json:"state"`
	Principal OrgRef `json:"principal"`
	Agent     OrgRef `json:"agent"`
	// "*": all
	Topics  []string   `json:"topics"`
	TLP     string     `json:"tlp,omitempty"`
	From    time.Time  `json:"from"`
	Until   time.Time  `json:"until"`
	Revoked *time.Time `json:"revoked,omitempty"`
	Reason  string     `json:"reason,omitempty"`
}

// NodeKeys are this node's own.
type NodeKeys struct {
	Node    string `json:"node"`
	Signing string `json:"signing"`
	// of its entry on the card; nil: it is not on it
	NotAfter *time.Time `json:"not_after,omitempty"`
}

// OpInfo is the operational key in force.
type OpInfo struct {
	Key   string `json:"key"`
	Epoch string `json:"root_epoch"`
	// when its root epoch was asked for
	Since time.Time `json:"since"`
	// this node has it
	Here bool `json:"here"`
	// this node has another one, which ended
	Void bool `json:"void"`
}

// OrgRef names an organisation: by id, and by what it calls itself.
type OrgRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// OwnNode is a node of this organisation.
type OwnNode struct {
	Node      string    `json:"node"`
	This      bool      `json:"this,omitempty"`
	Addrs     []string  `json:"addresses"`
	NotAfter  time.Time `json:"not_after"`
	Connected bool      `json:"connected"`
	// when this node last compared with it
	Compared *time.Time `json:"compared,omitempty"`
	// it then held nothing that is lacking here
	Same    bool       `json:"same"`
	Removed *time.Time `json:"removed,omitempty"`
}

// Owned is something that goes on by itself, and that one of the people set up.
type Owned struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// goes on, stands still, handed over, ended
	State string `json:"state"`
}

// PeerNode is a node of a peer.
type PeerNode struct {
	Node      string   `json:"node"`
	Addrs     []string `json:"addresses"`
	Connected bool     `json:"connected"`
	// why it is not connected although it was met
	Problem string `json:"problem,omitempty"`
	// how it is reached, if it is connected: direct, proxy or relay
	Path string `json:"path,omitempty"`
	// whose relay forwards
	By *OrgRef `json:"by,omitempty"`
	// it relays for others
	Relays bool `json:"relays"`
	Resets int  `json:"resets,omitempty"`
	// Of a connected one: its program and what that can do, as it says; its protocols; and why the next
	// release of this program will not talk with it, if that is so.
	Program      string   `json:"program,omitempty"`
	Capabilities []string `json:"capabilities,omitempty"`
	Speaks       []string `json:"speaks,omitempty"`
	Ends         string   `json:"ends,omitempty"`
}

// PeerStatus is an organisation that is known here.
type PeerStatus struct {
	Org     OrgRef `json:"organisation"`
	Kind    string `json:"kind"`
	Country string `json:"country,omitempty"`
	Contact string `json:"contact,omitempty"`
	// may connect and relay
	Member bool `json:"member"`
	// its words were compared
	Trusted bool `json:"trusted"`
	// root epoch.version
	Card string `json:"card"`
	// base64 in JSON: what 'entente trust' and 'node request' take
	Signed    []byte     `json:"signed_card"`
	Fresh     time.Time  `json:"fresh_until"`
	Agreement bool       `json:"agreement_in_force"`
	Sponsor   *OrgRef    `json:"sponsor,omitempty"`
	Nodes     []PeerNode `json:"nodes"`
}

// PendingAct is an act that waits for a second person.
type PendingAct struct {
	ID    string `json:"id"`
	Act   string `json:"act"`
	Title string `json:"title"`
	// of the second person
	Role    string    `json:"role"`
	By      string    `json:"by"`
	Purpose string    `json:"purpose,omitempty"`
	At      time.Time `json:"at"`
	Until   time.Time `json:"until"`
	// of what is to be done
	Hash string `json:"hash"`
	// method, path and query
	Request string `json:"request"`
	// of the request, of one that is asked for by id
	Body string `json:"body,omitempty"`
	// Body is base64
	Binary bool `json:"binary,omitempty"`
	// the caller asked for it
	Own bool `json:"own,omitempty"`
}

// Person is one of the people of this organisation's nodes.
type Person struct {
	// by which the node knows them, and the audit log names them
	ID       string   `json:"name"`
	FullName string   `json:"full_name"`
	Roles    []string `json:"roles"`
	// as whom they open the socket
	User    string `json:"os_user"`
	Purpose string `json:"purpose,omitempty"`
	// Removed is one who left. The name is kept, so that a sibling that has not heard of it, or a people
	// file, does not bring them back.
	Removed bool `json:"removed,omitempty"`
	// Unconfirmed is one who came from a backup, and may have been removed since.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
	// Ambiguous is one whose account is that of another, too, as two nodes were told apart from each
	// other: neither may come by it before one of them has another.
	Ambiguous bool `json:"ambiguous,omitempty"`
	// that they own, or that come as them
	Consumers []string `json:"consumers"`
	// sinks, sources and views that they own
	SetUp []Owned `json:"set_up"`
}

// PlanHolders is who would store records, apart from who reads them.
type PlanHolders struct {
	// of the network, and whoever becomes one
	EveryMember bool `json:"every_member"`
	// where not: those on the rosters of its feeds
	Orgs []OrgRef `json:"organisations,omitempty"`
	// a node of which signed to hold it
	Signed  []OrgRef `json:"signed,omitempty"`
	Records int      `json:"records"`
	// whom they reach in this way
	Readers []OrgRef `json:"readers"`
}

// PlanOrg is what one organisation would receive.
type PlanOrg struct {
	Org     string `json:"id"`
	Name    string `json:"name"`
	Records int    `json:"records"`
	// records, by reason
	Refused map[string]int `json:"refused,omitempty"`
	// local rules that refuse any of them, sorted
	Rules []string `json:"rules,omitempty"`
}

// NodeProblem is something that a person should see to, and what to do.
type NodeProblem struct {
	// a word that stays, for monitoring; docs/problems.md lists them
	Kind string `json:"kind"`
	// "error" or "warning"
	Severity string `json:"severity"`
	Text     string `json:"text"`
	Do       string `json:"do"`
}

// Quarantined is something that arrived and is not used, with the reason.
type Quarantined struct {
	// of the quarantine: feed/seq/index
	ID        string    `json:"id"`
	Publisher OrgRef    `json:"publisher"`
	Topic     string    `json:"topic"`
	Record    string    `json:"record,omitempty"`
	StixID    string    `json:"stix_id,omitempty"`
	Type      string    `json:"type,omitempty"`
	Reason    string    `json:"reason"`
	Text      string    `json:"text"`
	At        time.Time `json:"at"`
}

// ReachStatus is how a node reaches others and is reached.
type ReachStatus struct {
	// without its password
	Proxy string `json:"proxy,omitempty"`
	// relays by way of which it can be called
	Reservations []RelayStatus `json:"reservations"`
	// what it does for others, if it is a relay
	Relaying *RelayWork `json:"relaying,omitempty"`
	// for '--via' of others, if it is a relay
	Via []string `json:"via,omitempty"`
	// connected peers, by how they are reached
	Direct  int `json:"direct"`
	ByProxy int `json:"by_proxy"`
	ByRelay int `json:"by_relay"`
	// connections ended because the peer shared no topic, since the start
	Resets uint64 `json:"resets"`
	// circuits that direct connections took the place of, since the start
	Punched uint64 `json:"punched"`
}

// Record is a record as this organisation may see it.
type Record struct {
	ID         string       `json:"id"`
	StixID     string       `json:"stix_id"`
	Type       string       `json:"type"`
	Topic      string       `json:"topic"`
	Originator OrgRef       `json:"originator"`
	Publisher  OrgRef       `json:"publisher"`
	Handling   HandlingView `json:"handling"`
	Modified   *time.Time   `json:"modified,omitempty"`
	Received   time.Time    `json:"received"`
	// when it came here, in microseconds: rises with the cursor, whatever the clock does
	Added          time.Time `json:"added,omitzero"`
	Cursor         uint64    `json:"cursor"`
	Withdrawn      bool      `json:"withdrawn,omitempty"`
	WithdrawReason string    `json:"withdraw_reason,omitempty"`
	Feed           string    `json:"feed"`
	Seq            uint64    `json:"seq"`
	// its originator published it for another, which did not sign it
	OnBehalf *BehalfView `json:"on_behalf_of,omitempty"`
	// its originator had it of another, which it does not name
	Withheld bool `json:"origin_withheld,omitempty"`
	// what the object says of how far it can be relied on
	Assessment *Assessment     `json:"assessment,omitempty"`
	Object     json.RawMessage `json:"object"`
}

// RefusalInfo is what a partner set aside of what this organisation published.
type RefusalInfo struct {
	Org    OrgRef `json:"organisation"`
	Feed   string `json:"feed"`
	Seq    uint64 `json:"seq"`
	Record string `json:"record,omitempty"`
	Reason string `json:"reason"`
	Text   string `json:"text"`
	// by the partner's clock
	At time.Time `json:"at"`
}

// RefusedItem is an object that may not be published as it is.
type RefusedItem struct {
	StixID string `json:"stix_id"`
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// RelayStatus is a relay by way of which this node can be called.
type RelayStatus struct {
	Node string `json:"node"`
	Org  OrgRef `json:"organisation"`
	// it is renewed before
	Until time.Time `json:"until"`
}

// RelayWork is what a relay does for others now.
type RelayWork struct {
	// nodes that can be called by way of it
	Reservations int `json:"reservations"`
	// connections that it forwards
	Circuits int `json:"circuits"`
	// forwarded since it came on line, both ways
	Bytes uint64 `json:"bytes"`
}

// ReleaseItem is what waits for persons, or what they decided.
type ReleaseItem struct {
	Number uint64 `json:"number"`
	// waiting, passed on, denied, void
	State      string        `json:"state"`
	Originator OrgRef        `json:"originator"`
	Publisher  OrgRef        `json:"publisher"`
	Topic      string        `json:"topic"`
	TLP        string        `json:"tlp"`
	Records    int           `json:"records"`
	Kinds      []ReleaseKind `json:"kinds"`
	To         []OrgRef      `json:"to"`
	// persons
	Needs int `json:"needs"`
	// they are needed: the term or the rule that wants it, or the mode
	Why      string        `json:"why"`
	Since    time.Time     `json:"since"`
	Approved []ReleaseVote `json:"approved"`
	Denied   *ReleaseVote  `json:"denied,omitempty"`
	Withheld bool          `json:"origin_withheld,omitempty"`
	// only where one is asked for
	IDs []string `json:"ids,omitempty"`
}

// ReleaseKind counts records of a STIX type.
type ReleaseKind struct {
	Type  string `json:"type"`
	Count int    `json:"count"`
}

// ReleaseVote is what a person said.
type ReleaseVote struct {
	Person string    `json:"person"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// Removed says what ended with a person.
type Removed struct {
	Person string `json:"name"`
	// consumers whose tokens open nothing any more
	Ended []string `json:"ended"`
	// consumers that another owns now
	HandedOver []string `json:"handed_over"`
	// sinks, sources and views that they owned, and what became of each
	SetUp []Owned `json:"set_up"`
	// that waited for a second person
	Acts int `json:"acts"`
	// on releases that are not decided
	Votes int `json:"votes"`
	// Still is how many of their requests had been told to end and had not within five seconds.
	Still int `json:"still_open,omitempty"`
	// Unheard are the organisation's other nodes that are not connected: there they may come until the
	// nodes have met.
	Unheard []string `json:"unheard"`
	// Elsewhere are all of its other nodes: what the person owns there is ended, or stands still, as soon
	// as they hear.
	Elsewhere []string `json:"elsewhere"`
}

// RemovedNodeReport says where the feeds of a removed node end.
type RemovedNodeReport struct {
	Node  string     `json:"node"`
	Heads []FeedHead `json:"final_heads"`
	// entries that were known to be and that count nowhere now
	Missing uint64 `json:"missing"`
	Reason  string `json:"reason"`
}

// RequestInfo is a request that this organisation made or got.
type RequestInfo struct {
	ID        string   `json:"id"`
	From      OrgRef   `json:"from"`
	To        OrgRef   `json:"to"`
	Agreement string   `json:"agreement"`
	Purpose   string   `json:"purpose,omitempty"`
	Text      string   `json:"text,omitempty"`
	Values    []string `json:"values,omitempty"`
	// by the clock of who asked
	At time.Time `json:"at"`
	// none: the agreement promises nothing
	Due *time.Time `json:"due,omitempty"`
	// open, answered, declined
	State   string `json:"state"`
	Overdue bool   `json:"overdue,omitempty"`
	// who asked, or replied, here
	Person  string     `json:"person,omitempty"`
	Reply   string     `json:"reply,omitempty"`
	Replied *time.Time `json:"replied,omitempty"`
	// that answer it
	Records []string `json:"records,omitempty"`
	// Of a request that was got: how many records are held here about its values, and how many of them
	// were sealed for who asks.
	Held   int `json:"held,omitempty"`
	Shared int `json:"shared,omitempty"`
}

// Requirement says whether an act needs a second person.
type Requirement struct {
	Act string `json:"act"`
	Two bool   `json:"two"`
	// of the second person
	Role string `json:"role"`
}

// RetiredInfo is an operational key that ended.
type RetiredInfo struct {
	Key string `json:"key"`
	// rotated: what it signed stands; compromised: it does not
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// RootInfo is the root set in force. Its keys are on no node.
type RootInfo struct {
	// root rotations before it
	Set       int       `json:"set"`
	Threshold int       `json:"threshold"`
	Keys      []RootRef `json:"keys"`
	// Next is the hash of the set that will follow: a thief of the present one cannot choose it.
	Next [32]byte `json:"next"`
	// Rotations is how many root rotations are left.
	Rotations int `json:"rotations_left"`
}

// RootRef names a root key.
type RootRef struct {
	// in hexadecimal digits
	Key         string `json:"key"`
	Fingerprint string `json:"fingerprint"`
}

// RulesInfo is a set of rules as it is shown.
type RulesInfo struct {
	State string     `json:"state"`
	File  string     `json:"file,omitempty"`
	Since *time.Time `json:"since,omitempty"`
	Rules []Rule     `json:"rules"`
	// the people file, as it was taken
	People string `json:"people,omitempty"`
	// why the file on disk, or the set, is not in force
	Problem string `json:"problem,omitempty"`
	// Set names the set: rules and people. Confirm says that it is not let in force before somebody
	// confirms it, or loads another: it is not known whether there was a later one.
	Set     string `json:"set"`
	Confirm bool   `json:"confirm,omitempty"`
}

// SimulatedOrg is what would change for one organisation, in records.
type SimulatedOrg struct {
	Org OrgRef `json:"organisation"`
	// under the agreements of now
	Now int `json:"now"`
	// with the planned one
	Planned int `json:"planned"`
	Gained  int `json:"gained"`
	Lost    int `json:"lost"`
	// why they are refused now
	GainedBy map[string]int `json:"gained_by,omitempty"`
	// why they would be refused
	LostBy map[string]int `json:"lost_by,omitempty"`
	// examples
	Gains  []SimulatedRecord `json:"gains,omitempty"`
	Losses []SimulatedRecord `json:"losses,omitempty"`
	// Quarantined is how many records of this publisher lie in quarantine. They are judged anew once an
	// agreement with it is signed, and not before: what they say is not kept.
	Quarantined int `json:"quarantined,omitempty"`
}

// SimulatedRecord is an example of a change.
type SimulatedRecord struct {
	Record    string   `json:"record"`
	StixID    string   `json:"stix_id"`
	Type      string   `json:"type"`
	Topic     string   `json:"topic"`
	TLP       string   `json:"tlp"`
	Countries []string `json:"countries,omitempty"`
	// why it is refused now, or would be
	Text string `json:"text"`
}

// Simulation says what an agreement would have changed, had it been signed: of what was published and
// received since a time, who would have got it under it, and who under the agreements of now. Both
// answers are those of the function that enforces, for now. How many records a term lets through in a
// day is not counted. Nothing is written.
type Simulation struct {
	Title string `json:"title"`
	// in whose place it was put
	Amends *string   `json:"amends,omitempty"`
	Since  time.Time `json:"since"`
	At     time.Time `json:"at"`
	// records published by this organisation
	Own int `json:"own"`
	// records received
	Received int `json:"received"`
	// classes of them that were decided about
	Decided int `json:"classes"`
	// own records: who would get them
	Sends []SimulatedOrg `json:"sends"`
	// received ones: from whom they could come
	Comes []SimulatedOrg `json:"comes"`
	// received ones: to whom they could be passed on
	PassOn []SimulatedOrg `json:"pass_on"`
}

// SinkInfo is a sink and how far it has come.
type SinkInfo struct {
	// [a-z0-9-]{1,64}
	Name string `json:"name"`
	Kind string `json:"kind"`
	URL  string `json:"url"`
	// empty: everything that the reader may read and export
	View string `json:"view,omitempty"`
	// as whom it reads: local rules apply
	Reader string `json:"reader"`
	Format string `json:"format"`
	// changes delivered at once
	Batch int `json:"batch"`
	// loopback, link-local and private addresses may be called
	Private bool `json:"allow_private,omitempty"`
	// without TLS
	Plain bool `json:"allow_plain,omitempty"`
	// PEM certificates that are trusted in place of the system's
	Roots []byte `json:"roots,omitempty"`
	// JetStream stream that is made if there is none
	Stream string `json:"stream,omitempty"`
	// NATS: what subjects begin with
	Subject string `json:"subject,omitempty"`
	// Owner is who set it up last, one of the people: it stands still when they leave. "" where the node
	// had none.
	Owner string `json:"owner,omitempty"`
	// everything up to it was acknowledged, or is not for this sink
	Cursor uint64 `json:"cursor"`
	// changes acknowledged
	Delivered uint64 `json:"delivered"`
	// when something was acknowledged last
	Last time.Time `json:"last,omitzero"`
	// since when there is always more to deliver
	Behind time.Time `json:"behind_since,omitzero"`
	// since when nothing could be delivered
	Failing time.Time `json:"failing_since,omitzero"`
	// that failed since
	Attempts uint32 `json:"attempts,omitempty"`
	// when it is tried again
	Retry time.Time `json:"retry,omitzero"`
	// of the last attempt
	Error string `json:"error,omitempty"`
	// the receiver said that it wants nothing more
	Stopped time.Time `json:"stopped,omitzero"`
	Created time.Time `json:"created"`
}

// SourceCounts count what a source gave.
type SourceCounts struct {
	Documents uint64 `json:"documents"`
	// objects that the source gave before, and that cost nothing
	Known uint64 `json:"known"`
	// records
	Published uint64 `json:"published"`
	// objects that this organisation published already, by whatever way, or erased here
	Held uint64 `json:"held"`
	// objects and entries of documents that went into dead letters
	SetAside uint64 `json:"set_aside"`
	// records that the source does not hold any more
	Withdrawn uint64 `json:"withdrawn"`
	// new objects over the limit of a run, for the next
	Left uint64 `json:"left"`
}

// SourceState is how far a source has come.
type SourceState struct {
	Last *time.Time `json:"last_run,omitempty"`
	Good *time.Time `json:"last_success,omitempty"`
	// none: at once, unless Manual
	Next *time.Time `json:"next_run,omitempty"`
	// it is run when somebody asks only
	Manual  bool `json:"manual,omitempty"`
	Running bool `json:"running"`
	// one after the other
	Failures uint32 `json:"failures"`
	Error    string `json:"error,omitempty"`
	// of the last run
	Run SourceCounts `json:"run"`
	All SourceCounts `json:"total"`
	// that wait
	Dead int `json:"dead_letters"`
	// that went to make room
	Evicted uint64 `json:"dead_letters_evicted"`
}

// Status is how a node stands.
type Status struct {
	Org         OrgRef    `json:"organisation"`
	Node        string    `json:"node"`
	Network     string    `json:"network"`
	NetworkName string    `json:"network_name,omitempty"`
	Online      bool      `json:"online"`
	Addrs       []string  `json:"addresses"`
	Started     time.Time `json:"started"`
	Generation  uint64    `json:"policy_generation"`
	CardFresh   time.Time `json:"card_fresh_until"`
	Members     int       `json:"members"`
	Connected   int       `json:"connected"`
	Topics      int       `json:"topics"`
	// of topics, control entries left out
	Envelopes uint64 `json:"envelopes"`
	Control   uint64 `json:"control_entries"`
	// entries stored and not gone through yet
	Pending uint64 `json:"pending"`
	// entries that cannot be judged yet: a card, an agreement or their time is missing
	Waiting     int          `json:"waiting"`
	Records     uint64       `json:"records"`
	Quarantined int          `json:"quarantined"`
	Agreements  int          `json:"agreements_in_force"`
	Inbox       int          `json:"proposals_waiting"`
	Gossip      GossipStatus `json:"gossip"`
	// entries and bodies that there are, and that are not held
	Missing uint64 `json:"missing"`
	// feeds that lack something
	Gaps int `json:"gaps"`
	// feeds whose authors did not state their heads when they said that they would
	Silent int `json:"silent"`
	// feeds that their authors forked
	Forked   int `json:"forked"`
	Awaiting int `json:"awaiting_key"`
	// own entries of which no other node has signed that it holds a copy
	OnlyHere uint64     `json:"only_here"`
	Disk     DiskStatus `json:"disk"`
	// of this organisation
	Nodes []OwnNode `json:"nodes"`
	// why nothing is shown or served
	Restored string        `json:"restored,omitempty"`
	Rules    int           `json:"local_rules"`
	Problems []NodeProblem `json:"problems"`
	// Erasures counts requests to erase; Holds the legal holds that stand, and Kept the records that would
	// have been erased without them.
	Erasures AskCounts `json:"erasure_requests"`
	Holds    int       `json:"holds"`
	Kept     int       `json:"kept_under_hold"`
	// CountsHidden says that the caller may not be told how many records there are: Records and
	// Quarantined are left out.
	CountsHidden bool `json:"counts_hidden,omitempty"`
	// ProblemsHidden says that the caller, who is nobody of the node's people, may not be told of
	// problems: that Problems is empty says nothing.
	ProblemsHidden bool `json:"problems_hidden,omitempty"`
	// Incompatible counts the nodes that were met and share no version of the protocols with this one.
	Incompatible int `json:"incompatible,omitempty"`
	// Reach is how the node reaches others and is reached; nil: it is not up.
	Reach *ReachStatus `json:"reach,omitempty"`
	// Mirror is how the database stands that follows the corpus; nil: there is none.
	Mirror *MirrorStatus `json:"mirror,omitempty"`
}

// TokenInfo is how the token with the operational key stands.
type TokenInfo struct {
	Module  string `json:"module"`
	Token   string `json:"token"`
	Label   string `json:"label"`
	Answers bool   `json:"answers"`
	// since when it answers, or does not
	Since time.Time `json:"since"`
	// why it does not
	Problem string `json:"problem,omitempty"`
}

// TopicInfo is a topic that this node is in.
type TopicInfo struct {
	Name      string `json:"name"`
	Feeds     int    `json:"feeds"`
	Envelopes uint64 `json:"envelopes"`
	// gossiping now
	Peers int `json:"peers"`
}

// NodeVerdict is one decision in words.
type NodeVerdict struct {
	Org       OrgRef `json:"organisation"`
	Allowed   bool   `json:"allowed"`
	Reason    string `json:"reason"`
	Text      string `json:"text"`
	Agreement string `json:"agreement,omitempty"`
	Title     string `json:"agreement_title,omitempty"`
	// from 1
	Term int `json:"term,omitempty"`
	// who must approve before it is passed on
	Persons int `json:"persons,omitempty"`
	// why: the term or the local rule that wants it
	Approval string `json:"approval,omitempty"`
}

// View is a saved search: which records a collection, an output or a stream is made of. All conditions
// that are set must hold. It gives nobody a right: what somebody may not see is not in any view.
type View struct {
	Name  string `json:"name"`
	Title string `json:"title,omitempty"`
	// in one of them; none: in any
	Topics []string `json:"topics,omitempty"`
	// STIX types
	Types []string `json:"types,omitempty"`
	// has an observable of one of them
	Kinds []string `json:"kinds,omitempty"`
	// made by one of them
	Originators []string `json:"originators,omitempty"`
	// concerns one of them
	Countries []string `json:"countries,omitempty"`
	// has one of them
	Labels []string `json:"labels,omitempty"`
	// nothing above it; unset: no ceiling
	MaxTLP        byte `json:"max_tlp,omitempty"`
	MinConfidence byte `json:"min_confidence,omitempty"`
	// one of the people, who set it last; "": nobody, and not written: release 0.1 knew none
	Owner string `json:"owner,omitempty"`
}

// Warninglist describes a list of what is never put out to machines that block.
type Warninglist struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Version  int      `json:"version"`
	Entries  int      `json:"entries"`
	Matching []string `json:"matching_attributes,omitempty"`
	// zero: built in
	Set time.Time `json:"set,omitzero"`
}

// WhatIf says of one record who may have it under the agreements as they stand at a time, and who might
// if another one were signed: own records from us, received ones passed on by us. Cards and members are
// those of now.
type WhatIf struct {
	Record Record    `json:"record"`
	Own    bool      `json:"own"`
	At     time.Time `json:"at"`
	// of the agreement that would be signed
	Title string      `json:"planned,omitempty"`
	Orgs  []WhatIfOrg `json:"organisations"`
}

// WhatIfOrg is the answer about one organisation.
type WhatIfOrg struct {
	// by the agreements that are signed
	Held NodeVerdict `json:"held"`
	// with the planned one too
	Planned *NodeVerdict `json:"planned,omitempty"`
}

// WithheldPlan says what publishing a release with its origin withheld would leave out, or why it is
// refused.
type WithheldPlan struct {
	Records int `json:"records"`
	// properties that are left out of any of them, sorted
	Removed []string `json:"removed"`
	// who may have the copies today
	To []OrgRef `json:"to"`
	// why a record cannot be published so: then none is
	Refused []string `json:"refused"`
}

// ActDone is what came of an act that was approved.
type ActDone struct {
	Act PendingAct `json:"act"`
	// to the request, as JSON
	Answer string `json:"answer"`
}

// AddedSink is a sink that was added, with the secret if it was made here: it is told once.
type AddedSink struct {
	// [a-z0-9-]{1,64}
	Name string `json:"name"`
	Kind string `json:"kind"`
	URL  string `json:"url"`
	// empty: everything that the reader may read and export
	View string `json:"view,omitempty"`
	// as whom it reads: local rules apply
	Reader string `json:"reader"`
	Format string `json:"format"`
	// changes delivered at once
	Batch int `json:"batch"`
	// loopback, link-local and private addresses may be called
	Private bool `json:"allow_private,omitempty"`
	// without TLS
	Plain bool `json:"allow_plain,omitempty"`
	// PEM certificates that are trusted in place of the system's
	Roots []byte `json:"roots,omitempty"`
	// JetStream stream that is made if there is none
	Stream string `json:"stream,omitempty"`
	// NATS: what subjects begin with
	Subject string `json:"subject,omitempty"`
	// Owner is who set it up last, one of the people: it stands still when they leave. "" where the node
	// had none.
	Owner string `json:"owner,omitempty"`
	// everything up to it was acknowledged, or is not for this sink
	Cursor uint64 `json:"cursor"`
	// changes acknowledged
	Delivered uint64 `json:"delivered"`
	// when something was acknowledged last
	Last time.Time `json:"last,omitzero"`
	// since when there is always more to deliver
	Behind time.Time `json:"behind_since,omitzero"`
	// since when nothing could be delivered
	Failing time.Time `json:"failing_since,omitzero"`
	// that failed since
	Attempts uint32 `json:"attempts,omitempty"`
	// when it is tried again
	Retry time.Time `json:"retry,omitzero"`
	// of the last attempt
	Error string `json:"error,omitempty"`
	// the receiver said that it wants nothing more
	Stopped time.Time `json:"stopped,omitzero"`
	Created time.Time `json:"created"`
	Made    string    `json:"made_secret,omitempty"`
}

// Agreement is an agreement as it is shown. Its secret is never part of it, but of Document.
type Agreement struct {
	ID         string    `json:"id"`
	State      string    `json:"state"`
	Title      string    `json:"title"`
	Parties    []OrgRef  `json:"parties"`
	Signed     []OrgRef  `json:"signed"`
	Missing    []OrgRef  `json:"missing"`
	NotBefore  time.Time `json:"not_before"`
	NotAfter   time.Time `json:"not_after"`
	LegalBasis string    `json:"legal_basis,omitempty"`
	// by whom, when and why
	Ended     string           `json:"ended,omitempty"`
	Warning   string           `json:"warning,omitempty"`
	AmendedBy string           `json:"amended_by,omitempty"`
	Life      []AgreementEvent `json:"life"`
	// only where one is asked for
	Text string `json:"text,omitempty"`
	// the same
	YAML string `json:"yaml,omitempty"`
}

// AgreementEvent is one step of an agreement's life.
type AgreementEvent struct {
	At   time.Time `json:"at"`
	Org  *OrgRef   `json:"org,omitempty"`
	What string    `json:"what"`
	Text string    `json:"text,omitempty"`
}

// AgreementID names an agreement that something was done about.
type AgreementID struct {
	ID string `json:"agreement"`
}

// Anew is what is to be signed anew of one agreement.
type Anew struct {
	// as it was signed
	ID      string   `json:"agreement"`
	Title   string   `json:"title"`
	Parties []OrgRef `json:"parties"`
	YAML    string   `json:"yaml"`
}

// Change is one thing that an agreement changes: policy.Change.
type Change struct {
	Effect string `json:"effect"`
	// of the new one, from 1
	Term int `json:"term,omitempty"`
	// of the old one
	Was  int    `json:"was,omitempty"`
	Text string `json:"text"`
}

// ChangesResult is one page of changes.
type ChangesResult struct {
	Changes []NodeChange `json:"changes"`
	// to go on from; as it was asked for: there are no more for now
	Next uint64 `json:"next"`
}

// Check is the answer to a check of a draft.
type Check struct {
	Text     string    `json:"text"`
	Findings []Finding `json:"findings"`
	// nothing that keeps it from being proposed
	OK bool `json:"ok"`
}

// Checkpoint is a signed checkpoint.
type Checkpoint struct {
	Log        string `json:"log"`
	Entries    uint64 `json:"entries"`
	Checkpoint string `json:"checkpoint"`
}

// Compared is what came of holding a checkpoint against the one that was cosigned here.
type Compared struct {
	Org        OrgRef    `json:"organisation"`
	Node       string    `json:"node"`
	Log        string    `json:"log"`
	Entries    uint64    `json:"entries"`
	At         time.Time `json:"at"`
	Checkpoint string    `json:"checkpoint"`
	// Against is a checkpoint of that node that does not continue the other; "": there is none.
	Against string `json:"against,omitempty"`
	// Forked says that the two prove by themselves that there are two accounts.
	Forked bool `json:"forked"`
	// only then the two can be compared by themselves
	OneLength bool `json:"one_length"`
	Differs   bool `json:"differs"`
}

// ConsumerToken is the token that a consumer was given. It is not shown again.
type ConsumerToken struct {
	Name    string    `json:"name"`
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

// DeadResult is what became of dead letters.
type DeadResult struct {
	Letters int `json:"letters"`
	// of those tried again
	Reports []SourceReport `json:"reports,omitempty"`
	// and why
	Failed []string `json:"failed,omitempty"`
	// that are left, or were made anew
	Waiting int `json:"waiting"`
}

// Diff is what an agreement changes of another.
type Diff struct {
	Text    string   `json:"text"`
	Changes []Change `json:"changes"`
	// something may be shared that might not before
	Widens bool `json:"widens"`
}

// Document is an agreement as its parties signed it. It is confidential to them: its secret is part of
// it.
type Document struct {
	ID      string   `json:"agreement"`
	State   string   `json:"state"`
	Missing []OrgRef `json:"missing"`
	// base64 in JSON: what an import takes
	Document []byte `json:"document"`
}

// Draft is a draft to edit, with what a person should know of how it came about.
type Draft struct {
	YAML  string   `json:"yaml"`
	Notes []string `json:"notes,omitempty"`
}

// Enrolled is a node that is one of its organisation's now.
type Enrolled struct {
	Node    string `json:"node"`
	Network string `json:"network"`
}

// Enrolment is what a new node takes.
type Enrolment struct {
	Enrolment []byte `json:"enrolment"`
}

// Excluded says of how many records organisations were excluded.
type Excluded struct {
	Records int `json:"records"`
}

// FileBody is a file that is carried by hand: a mandate, or the proof of an origin.
type FileBody struct {
	File []byte `json:"file"`
}

// Finding is one thing that a check of an agreement found.
type Finding struct {
	Severity string `json:"severity"`
	Term     int    `json:"term,omitempty"`
	Text     string `json:"text"`
}

// Health says whether the store can be read.
type Health struct {
	Healthy bool     `json:"healthy"`
	Reasons []string `json:"reasons,omitempty"`
}

// ID is an organisation as it presents itself.
type ID struct {
	Org     string `json:"id"`
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Country string `json:"country,omitempty"`
	Contact string `json:"contact,omitempty"`
	// to be read out by phone
	Words      []string  `json:"words"`
	Node       string    `json:"node,omitzero"`
	FreshUntil time.Time `json:"fresh_until"`
	Fresh      bool      `json:"fresh"`
	// base64 in JSON: what 'entente trust' and 'network invite' take
	Card        []byte `json:"card"`
	Fingerprint string `json:"fingerprint"`
}

// Imported is what became of an agreement that was imported.
type Imported struct {
	ID    string `json:"agreement"`
	State string `json:"state"`
	// it was not known before
	New bool `json:"new"`
	// signatures that were not held before
	Added int `json:"added"`
}

// Invitation is an invitation file.
type Invitation struct {
	Invitation []byte `json:"invitation"`
	Invitee    string `json:"invitee"`
}

// MandateID names a mandate.
type MandateID struct {
	Mandate string `json:"mandate"`
}

// Me is who a caller is.
type Me struct {
	Name     string   `json:"name"`
	FullName string   `json:"full_name,omitempty"`
	User     string   `json:"os_user"`
	Roles    []string `json:"roles"`
	// the node has people; else whoever may open the socket may do everything
	People bool `json:"people"`
	// that the roles give; local rules may take away from them
	Rights []string `json:"rights"`
}

// Network is a network.
type Network struct {
	Network string `json:"network"`
	// where the node was told it just now
	Name string `json:"name,omitempty"`
}

// NodeRef is a node that something was done about.
type NodeRef struct {
	Node string `json:"node"`
}

// Org is an organisation that something was done about.
type Org struct {
	Org string `json:"organisation"`
}

// PersonChanged is one of the people as they are now.
type PersonChanged struct {
	Person Person `json:"person"`
	// Still is how many requests that are not theirs to make any more had not ended within five seconds.
	Still int `json:"still_open,omitempty"`
}

// Plan says what a publication would do.
type Plan struct {
	Format     string         `json:"format"`
	Topic      string         `json:"topic"`
	Generation uint64         `json:"policy_generation"`
	Records    int            `json:"records"`
	Duplicates int            `json:"duplicates"`
	Orgs       []PlanOrg      `json:"organisations"`
	Handling   []PlanHandling `json:"handling"`
	// records that may not go out as they are
	Refused []RefusedItem `json:"refused"`
	// file:line: what could not be read
	Problems []string `json:"problems"`
	Notes    []string `json:"notes"`
	// Assessments count the records by what they say of how far they can be relied on.
	Assessments []PlanAssessment `json:"assessments"`
	OnBehalf    *PlanBehalf      `json:"on_behalf_of,omitempty"`
	// who would store the records, sealed, apart from who reads them
	Holders []PlanHolders `json:"holders"`
}

// PlanAssessment counts the records of one assessment.
type PlanAssessment struct {
	Text    string     `json:"text"`
	Records int        `json:"records"`
	Said    Assessment `json:"said"`
}

// PlanBehalf is on whose behalf it would be published, and under which mandate.
type PlanBehalf struct {
	Principal string `json:"principal"`
	Mandate   string `json:"mandate"`
}

// PlanHandling counts the records of one handling.
type PlanHandling struct {
	TLP       string   `json:"tlp"`
	Countries []string `json:"countries,omitempty"`
	Records   int      `json:"records"`
	Readers   []string `json:"readers"`
}

// Protected are names and networks that are never put out: this organisation's own.
type Protected struct {
	Values []string `json:"values"`
}

// PublishEvent is one line of the answer to a publication.
type PublishEvent struct {
	Plan    *Plan    `json:"plan,omitempty"`
	Done    int      `json:"done,omitempty"`
	Total   int      `json:"total,omitempty"`
	Receipt *Receipt `json:"receipt,omitempty"`
	// after the receipt, if it was asked to wait
	Waited *Waited `json:"waited,omitempty"`
	Error  *Error  `json:"failed,omitempty"`
}

// Readiness says whether anything keeps the node from serving.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"`
}

// Receipt acknowledges: what it counts is durable here.
type Receipt struct {
	Records int `json:"records"`
	// feed entries, grants among them
	Envelopes int      `json:"envelopes"`
	Feed      string   `json:"feed"`
	From      uint64   `json:"from"`
	To        uint64   `json:"to"`
	IDs       []string `json:"ids,omitempty"`
	// all of it, by feed; the first is the one above
	Parts []ReceiptPart `json:"parts"`
}

// ReceiptPart is what of a publication stands in one feed, and who may store it.
type ReceiptPart struct {
	Feed string `json:"feed"`
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
	// of a direct feed; none: every member
	Holders []string `json:"holders"`
}

// ReleaseMode is what is done with records that may be passed on.
type ReleaseMode struct {
	Mode string `json:"mode"`
	// in a request: look also at what came before
	All bool `json:"all,omitempty"`
}

// Renewed names a proposal, and the agreement that it renews.
type Renewed struct {
	ID     string `json:"agreement"`
	Renews string `json:"renews"`
}

// Resealed says how many entries of a node were sealed anew.
type Resealed struct {
	Node    string `json:"node"`
	Entries int    `json:"entries"`
}

// RulesCheck is the answer to a check of rules.
type RulesCheck struct {
	OK       bool           `json:"ok"`
	Rules    []Rule         `json:"rules"`
	Problems []RulesProblem `json:"problems"`
}

// RulesSchema is the Cedar schema of local rules.
type RulesSchema struct {
	Schema string `json:"schema"`
}

// SearchResult is one page of records.
type SearchResult struct {
	Records []Record `json:"records"`
	// cursor of the next page; none at the end
	Next uint64 `json:"next,omitempty"`
}

// SourceName names a source.
type SourceName struct {
	Source string `json:"source"`
}

// SourceView is a source and how far it has come.
type SourceView struct {
	Name            string          `json:"name"`
	Kind            string          `json:"kind"`
	Where           string          `json:"where"`
	Collection      string          `json:"collection,omitempty"`
	Schedule        string          `json:"schedule"`
	Topic           string          `json:"topic"`
	Handling        HandlingView    `json:"handling"`
	Format          string          `json:"format"`
	Assessment      AssessmentCodes `json:"assessment,omitzero"`
	Principal       string          `json:"principal"`
	MaxRecords      uint32          `json:"max_records"`
	MaxBytes        uint64          `json:"max_bytes"`
	Private         bool            `json:"private_addresses,omitempty"`
	WithdrawMissing bool            `json:"withdraw_missing,omitempty"`
	MoveDone        bool            `json:"move_done,omitempty"`
	Paused          bool            `json:"paused,omitempty"`
	HasLogin        bool            `json:"credentials"`
	Added           time.Time       `json:"added"`
	Person          string          `json:"person,omitempty"`
	Unconfirmed     bool            `json:"unconfirmed,omitempty"`
	State           SourceState     `json:"state"`
}

// Waited says whether what was to be waited for came.
type Waited struct {
	Came bool `json:"came"`
	// what did not
	Missing string `json:"missing,omitempty"`
}

// Withdrawn names records that were withdrawn.
type Withdrawn struct {
	Withdrawn []string `json:"withdrawn"`
}

// MirrorStatus is how a mirror stands.
type MirrorStatus struct {
	Connected bool `json:"connected"`
	// it was up with the node once
	Whole bool `json:"whole"`
	// cursor of the last change that is written
	Position uint64 `json:"position"`
	// cursor of the last change of which the erasures are written
	Erased uint64 `json:"erased"`
	// changes that are not written, about
	Behind uint64 `json:"behind"`
	// when it was last up with the node; zero: not since the start
	UpTo time.Time `json:"up_to"`
	// records, since the start
	Written uint64 `json:"written"`
	// since the start
	Failures uint64 `json:"failures"`
	// why it is not connected
	Error string `json:"error,omitempty"`
	// there is no role for analysts, and the node may not make it
	NoReader bool `json:"no_reader"`
	// what it says of itself
	Server string `json:"server,omitempty"`
	// searches are answered by it
	Searched bool `json:"searched"`
	// searches that it answered, since the start
	Answered uint64 `json:"answered"`
	// searches that the embedded corpus answered in its place
	Declined uint64 `json:"declined"`
}

// DoctorFinding is what a check found.
type DoctorFinding struct {
	Check string `json:"check"`
	// ok, warning, error, unknown
	State string `json:"state"`
	// a word that stays, of Kinds; none where it is ok
	Kind string `json:"kind,omitempty"`
	Text string `json:"text"`
	// the repair: a command, or what a person does
	Do string `json:"do,omitempty"`
}

// Disputed is who says that the value is wrong.
type Disputed struct {
	By      string `json:"by"`
	Opinion string `json:"opinion"`
}

// OutputsExplanation says why a value is in lists, and why it is not.
type OutputsExplanation struct {
	Value string `json:"value"`
	Kind  string `json:"kind"`
	Score int    `json:"score"`
	// the score from which it is put out
	Least    int              `json:"least"`
	Sources  int              `json:"sources"`
	Seen     int              `json:"seen"`
	Reports  []OutputsReport  `json:"reports"`
	Disputes []Disputed       `json:"disputes,omitempty"`
	Listed   *Hit             `json:"warninglist,omitempty"`
	Formats  []OutputsVerdict `json:"formats"`
}

// OutputsReport is what one object adds.
type OutputsReport struct {
	Record     string `json:"record"`
	StixID     string `json:"stix_id"`
	Originator OrgRef `json:"originator"`
	// its score when it was made
	Base int `json:"base"`
	// of it alone, now
	Score     int       `json:"score"`
	Confirmed time.Time `json:"confirmed"`
	From      time.Time `json:"valid_from,omitzero"`
	Until     time.Time `json:"valid_until,omitzero"`
	Lifetime  int       `json:"lifetime_days"`
	Seen      int       `json:"seen,omitempty"`
	PAP       string    `json:"pap,omitempty"`
	Copy      bool      `json:"origin_withheld,omitempty"`
}

// OutputsVerdict is whether a format holds the value.
type OutputsVerdict struct {
	Format string `json:"format"`
	In     bool   `json:"in"`
	Reason string `json:"reason,omitempty"`
	Text   string `json:"text"`
}

// Hit says which list holds a value.
type Hit struct {
	List string `json:"list"`
	// as it stands there, or as it is meant
	Entry string `json:"entry"`
	// it is part of what the value stands for
	Covers bool `json:"covers,omitempty"`
}

// SourceReport says what a run did.
type SourceReport struct {
	Source string       `json:"source"`
	Counts SourceCounts `json:"counts"`
	Error  string       `json:"error,omitempty"`
	Next   *time.Time   `json:"next_run,omitempty"`
}

// IEPPolicy is a policy of FIRST's Information Exchange Policy 2.0 as JSON
// (https://www.first.org/iep/iep-json-2_0).
type IEPPolicy struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Version     json.RawMessage `json:"iep_version"`
	// RFC 3339, UTC
	Start string `json:"start_date"`
	// null: none
	End                *string  `json:"end_date"`
	EncryptInTransit   string   `json:"encrypt_in_transit"`
	PermittedActions   string   `json:"permitted_actions"`
	Notifications      string   `json:"affected_party_notifications"`
	TLP                string   `json:"tlp"`
	Attribution        string   `json:"attribution"`
	UnmodifiedResale   string   `json:"unmodified_resale"`
	ExternalReferences []string `json:"external_references"`
}

// RulesProblem is why a rule set is refused: one place, and what to do.
type RulesProblem struct {
	File string `json:"file"`
	// from 1
	Line int `json:"line"`
	// from 1, in characters
	Column int    `json:"column"`
	Text   string `json:"text"`
}

// Rule is one rule as it is shown.
type Rule struct {
	// its @id, or file:line
	Name string `json:"name"`
	File string `json:"file"`
	Line int    `json:"line"`
	// permit or forbid
	Effect  string   `json:"effect"`
	Actions []string `json:"actions"`
	Reason  string   `json:"reason,omitempty"`
	// who must release what it matches, instead of its being refused
	Persons byte `json:"persons,omitempty"`
	// as it was written
	Text string `json:"text"`
}

// FeedHead is a position in a feed. Growth: with Card and Termination, of which it is a part; it has no
// version of its own.
type FeedHead struct {
	Feed string `json:""`
	Seq  uint64 `json:""`
	// of the entry at Seq
	Hash [32]byte `json:""`
}

// Assessment is what an object says of how far it can be relied on, and what its provider says of its
// use, in the vocabularies that analysts and police have: the Admiralty scale (NATO AJP-2.1), Europol's
// evaluation (4x4, Regulation (EU) 2016/794, article 29) and handling codes, and estimative language
// (ICD 203). It is read to be shown. It decides nothing.
type Assessment struct {
	// Admiralty, of the source: A to F
	Reliability string `json:"reliability,omitempty"`
	// Admiralty, of the information: 1 to 6; 0: not said
	Credibility byte `json:"credibility,omitempty"`
	// Europol: A, B, C, X
	Source string `json:"europol_source,omitempty"`
	// Europol: 1 to 4; 0: not said
	Information byte `json:"europol_information,omitempty"`
	// H0 to H3, sorted
	Handling []string `json:"europol_handling,omitempty"`
	// what the provider wrote to its codes
	HandlingText string `json:"europol_text,omitempty"`
	// estimative language: unlikely, likely, …
	Likelihood string `json:"likelihood,omitempty"`
	// as stated (STIX 3.2), 0 to 100
	Confidence *byte `json:"confidence,omitempty"`
	// Mapped is what follows by the tables of SPEC 12.4, for readers of other scales. It was not said.
	Mapped Mapped `json:"mapped,omitzero"`
	// Unknown are codes of these vocabularies that are not known, as they were written.
	Unknown []string `json:"unknown,omitempty"`
	// Contradictions are what was said in two ways that cannot both be; neither counts.
	Contradictions []string `json:"contradictions,omitempty"`
}

// Mapped is what an assessment is in scales in which it was not said.
type Mapped struct {
	// of an Admiralty credibility
	Confidence *byte `json:"confidence,omitempty"`
	// of a Europol evaluation
	Reliability string `json:"reliability,omitempty"`
	// the same
	Credibility byte `json:"credibility,omitempty"`
	// of an Admiralty reliability
	Source string `json:"europol_source,omitempty"`
	// of an Admiralty credibility
	Information byte `json:"europol_information,omitempty"`
}
