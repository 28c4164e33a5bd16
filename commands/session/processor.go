package session

import "noggin/batch/process"

// Processor returns the engine that asks the API, with the command's configuration.
func (s *Session) Processor() (*process.Processor, error) {
	client, err := s.Client()
	if err != nil {
		return nil, err
	}
	return &process.Processor{
		DB: s.DB, API: client, Types: s.Types, Names: s.Config.Batch.Hashes, Log: s.Log,
		Processing: s.Config.Batch.Processing, Retry: s.Config.Batch.Retry, Circuit: s.Config.Batch.Circuit, Refresh: s.Config.Batch.Refresh, Output: s.Config.Batch.Paths.Output, Reserve: s.Config.Batch.Paths.Reserve,
		Version: s.Version, Command: s.Command, DefaultObjectType: s.Config.Batch.Import.DefaultObjectType,
	}, nil
}
